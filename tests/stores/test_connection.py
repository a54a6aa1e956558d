"""Redis: one that is named, one that may be away, or an embedded server."""

from __future__ import annotations

import time

import pytest
from pydantic import SecretStr
from redis.exceptions import RedisError

from app.stores.connection import open_redis


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
