"""The shared connection: each caller gets its reply, and none waits long for an unavailable store."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.errors import StoreUnavailable
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script
from app.stores.valkey_server import Server


async def test_each_caller_has_its_own_reply(store: Pipelined) -> None:
    assert await asyncio.gather(*(store.call("ECHO", f"{n}") for n in range(2000))) == [b"%d" % n for n in range(2000)]


async def test_cancelled_callers_take_no_reply_from_others(store: Pipelined) -> None:
    calls = [asyncio.create_task(store.call("ECHO", f"{n}")) for n in range(200)]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert replies[1::3] == [b"%d" % n for n in range(1, 200, 3)]
    assert await store.call("ECHO", "after") == b"after"


async def test_large_replies_and_bytes_of_any_kind(store: Pipelined) -> None:
    value = bytes(range(256)) * 8192
    await store.call("SET", "large", value)
    assert await asyncio.gather(*(store.call("GET", "large") for _ in range(4))) == [value] * 4


async def test_an_error_reply_reaches_its_caller_only(store: Pipelined) -> None:
    refused, answered = await asyncio.gather(
        store.call("NO-SUCH-COMMAND"), store.call("ECHO", "x"), return_exceptions=True
    )
    assert isinstance(refused, ResponseError)
    assert answered == b"x"


async def test_a_flushed_script_is_loaded_again(store: Pipelined) -> None:
    script = Script("clock")
    script.source = "return ARGV[1]"
    script.sha = (await store.call("SCRIPT", "LOAD", script.source)).decode()
    assert await store.run(script, "one") == b"one"
    await store.call("SCRIPT", "FLUSH")
    assert await store.run(script, "two") == b"two"


async def test_an_error_in_a_script_is_store_unavailable(store: Pipelined) -> None:
    script = Script("clock")
    script.source = "return redis.call('NO-SUCH-COMMAND')"
    script.sha = (await store.call("SCRIPT", "LOAD", script.source)).decode()
    with pytest.raises(StoreUnavailable):
        await store.run(script)


async def test_an_unreachable_store_fails_all_callers_soon() -> None:
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        store = Pipelined(redis)
        started = time.monotonic()
        replies = await asyncio.gather(*(store.call("PING") for _ in range(500)), return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in replies)
        assert time.monotonic() - started < 20


async def test_a_hanging_store_fails_all_callers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with open_redis(SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}")) as redis:
            store = Pipelined(redis)
            started = time.monotonic()
            replies = await asyncio.gather(*(store.call("PING") for _ in range(50)), return_exceptions=True)
            assert all(isinstance(error, StoreUnavailable) for error in replies)
            assert time.monotonic() - started < 20


async def test_a_suspended_store_fails_the_call(tmp_path: Path) -> None:
    """The connection stays open."""
    server = Server(tmp_path, persistent=False)
    await server.start()
    async with open_redis(SecretStr(f"unix://{server.socket}")) as redis:
        store, process = Pipelined(redis, 0.2), int((await redis.info("server"))["process_id"])
        assert await store.call("PING") == b"PONG"
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            await store.call("PING")
        os.kill(process, signal.SIGCONT)
        await store.close()
    await server.stop()


async def test_a_suspended_client_does_not_time_out(redis: Redis) -> None:
    store = Pipelined(redis, 0.5)
    await store.call("PING")
    pending = asyncio.create_task(store.call("PING"))
    await asyncio.sleep(0)
    time.sleep(1.5)  # noqa: ASYNC251
    assert await pending == b"PONG"
    await store.close()


async def test_a_restarted_store_is_used_again(tmp_path: Path) -> None:
    server = Server(tmp_path, persistent=True)
    await server.start()
    async with open_redis(SecretStr(f"unix://{server.socket}")) as redis:
        store = Pipelined(redis)
        await store.call("SET", "kept", "1")
        await server.stop()
        with pytest.raises(StoreUnavailable):
            await store.call("GET", "kept")
        await server.start()
        deadline = time.monotonic() + 60
        while True:
            try:
                assert await store.call("GET", "kept") == b"1"
                break
            except StoreUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        await store.close()
    await server.stop()


async def test_a_password_and_a_database_are_used(tmp_path: Path) -> None:
    server = Server(tmp_path, persistent=False)
    await server.start()
    async with open_redis(SecretStr(f"unix://{server.socket}")) as plain:
        await plain.config_set("requirepass", "hush")
    async with open_redis(SecretStr(f"unix://:hush@{server.socket}?db=2")) as redis:
        store = Pipelined(redis)
        await store.call("SET", "name", "value")
        assert (await redis.info("keyspace")).keys() == {"db2"}
        await store.close()
    async with open_redis(SecretStr(f"unix://:wrong@{server.socket}")) as redis:
        with pytest.raises(StoreUnavailable) as caught:
            await Pipelined(redis).call("PING")
        assert "wrong" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await server.stop()
