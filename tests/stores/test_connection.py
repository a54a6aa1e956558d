"""The Redis client: of a named server, which may be unavailable."""

from __future__ import annotations

import socket
import time

import pytest
from pydantic import SecretStr
from redis.exceptions import RedisError

from app.errors import StoreUnavailable
from app.stores.connection import check, open_redis


async def test_a_named_server_is_used(store_url: str) -> None:
    async with open_redis(SecretStr(store_url)) as one, open_redis(SecretStr(store_url)) as other:
        await one.set("shared", "value")
        assert await other.get("shared") == "value"
        await check(one)


async def test_an_unavailable_server_is_detected_soon() -> None:
    started = time.monotonic()
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        with pytest.raises(RedisError):
            await redis.ping()
        with pytest.raises(StoreUnavailable):
            await check(redis)
    assert time.monotonic() - started < 1


async def test_the_check_of_a_server_that_hangs_fails_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with open_redis(SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}")) as redis:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await check(redis)
            assert time.monotonic() - started < 1.5
