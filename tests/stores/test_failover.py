"""A server that answers and cannot serve: demoted behind its address, in cluster mode, or a Sentinel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import ReadOnlyError, ResponseError

from app.errors import InvalidSettings, StoreUnavailable
from app.stores.connection import check, open_redis, require_standalone
from app.stores.pipelined import Pipelined
from app.stores.redis_protocol import server_fault
from app.stores.scripts import Script
from tests.valkey import Valkey


@pytest.fixture
def demoted(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path, ("--save", "", "--replicaof", "127.0.0.1", "1")) as server:
        yield server


@pytest.fixture
def script() -> Script:
    script = Script("clock")
    script.source = "return redis.call('SET', 'written', 'x')"
    script.sha = "0" * 40
    return script


async def test_a_failover_behind_the_address_recovers_without_a_restart(tmp_path: Path, script: Script) -> None:
    """As behind a balancer: open connections keep their server, new ones reach the new master."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    address = tmp_path / "address"
    with Valkey(tmp_path / "old") as old, Valkey(tmp_path / "new") as new:
        address.symlink_to(old.url.removeprefix("unix://"))
        async with open_redis(SecretStr(f"unix://{address}")) as redis, open_redis(SecretStr(old.url)) as admin:
            store = Pipelined(redis)
            await asyncio.gather(check(redis), store.call("SET", "before", "1"))
            await admin.replicaof("127.0.0.1", 1)
            address.unlink()
            address.symlink_to(new.url.removeprefix("unix://"))
            with pytest.raises(StoreUnavailable, match="READONLY"):
                await store.call("SET", "after", "1")
            with pytest.raises(StoreUnavailable, match="ReadOnlyError"):
                await check(redis)
            assert await store.call("SET", "after", "1") == b"OK"
            await check(redis)
            await redis.set("pooled", "1")
            await store.close()


async def test_a_script_on_a_demoted_server_names_the_cause(demoted: Valkey, script: Script) -> None:
    async with open_redis(SecretStr(demoted.url)) as redis:
        store = Pipelined(redis)
        script.sha = (await store.call("SCRIPT", "LOAD", script.source)).decode()
        read, written = await asyncio.gather(store.call("ECHO", "x"), store.run(script), return_exceptions=True)
        assert read == b"x"
        assert isinstance(written, StoreUnavailable)
        assert "READONLY" in written.detail
        with pytest.raises(ReadOnlyError):
            await redis.set("x", "y")
        await require_standalone(redis)  # a failover may follow
        await store.close()


async def test_a_server_of_a_cluster_is_refused_at_the_start(tmp_path: Path) -> None:
    options = ("--save", "", "--cluster-enabled", "yes")
    with Valkey(tmp_path, options) as server:
        async with open_redis(SecretStr(server.url)) as redis:
            with pytest.raises(InvalidSettings, match="REDIS_URL names a server in cluster mode"):
                await require_standalone(redis)
            with pytest.raises(StoreUnavailable):
                await check(redis)


async def test_a_sentinel_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "valkey.conf").touch()  # a Sentinel needs a file to write to
    with Valkey(tmp_path, ("--sentinel",)) as server:
        async with open_redis(SecretStr(server.url)) as redis:
            with pytest.raises(InvalidSettings, match="REDIS_URL names a server in sentinel mode"):
                await require_standalone(redis)
            with pytest.raises(StoreUnavailable):
                await check(redis)


async def test_an_unreachable_server_does_not_prevent_the_start() -> None:
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        await require_standalone(redis)


@pytest.mark.parametrize("code", ["READONLY", "MOVED", "ASK", "LOADING", "CLUSTERDOWN", "MASTERDOWN"])
def test_codes_of_the_wrong_server(code: str) -> None:
    for text in (f"{code} 1 other:6379", f"ERR Error running script (call to f_0): @user_script:1: -{code} x"):
        fault = server_fault(ResponseError(text))
        assert fault is not None
        assert code in fault.detail


def test_other_errors_keep_the_connection() -> None:
    for text in ("NOSCRIPT No matching script", "WRONGTYPE x", "ERR the value ASKED READONLY"):
        assert server_fault(ResponseError(text)) is None
