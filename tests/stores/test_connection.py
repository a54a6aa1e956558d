"""Redis: an embedded server that leaves nothing behind, or one that may be away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import RedisError

from app.stores.connection import open_redis


async def test_an_embedded_server_lives_as_long_as_its_client() -> None:
    async with open_redis(None) as redis:
        await redis.set("name", "value")
        assert await redis.get("name") == "value"
        information = await redis.info("server")
        pid, folder = information["process_id"], Path(information["config_file"]).parent
        os.kill(pid, 0)
        assert information["tcp_port"] == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()


async def test_a_named_server_is_used(store_url: str) -> None:
    async with open_redis(SecretStr(store_url)) as one, open_redis(SecretStr(store_url)) as other:
        await one.set("shared", "value")
        assert await other.get("shared") == "value"


async def test_a_server_that_is_away_is_noticed_soon() -> None:
    started = time.monotonic()
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        with pytest.raises(RedisError):
            await redis.ping()
    assert time.monotonic() - started < 1
