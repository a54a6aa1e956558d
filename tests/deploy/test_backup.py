"""The ledger's backup as in the operations guide: copied during writes, restored elsewhere, equal.

And a full disk: no answer without a stored charge, and normal operation once there is space again.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.accounting.admission import Admissions, Leader
from app.contract.completion import Usage
from app.errors import StoreUnavailable
from app.pricing.limits import Estimate, Limits, Scope
from app.stores.connection import check, open_redis
from app.stores.pipelined import Pipelined
from tests.valkey import KEPT, Valkey

SCOPES = (Scope("backend:gpt-4", Limits(None, None, 10**15)),)
CALLS = range(1000, 1050)
"""The cost of fifty calls, in nano-dollars."""
TIMEOUT_S = 30.0
COMPOSE = ("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
"""The options in docker-compose.yml; timed snapshots are a default."""
EMBEDDED = ("--appendonly", "yes", "--appendfsync", "no", "--save", "")


@asynccontextmanager
async def opened(valkey: Valkey) -> AsyncIterator[tuple[Redis, Admissions]]:
    async with open_redis(SecretStr(valkey.url)) as redis:
        store = Pipelined(redis, TIMEOUT_S)
        try:
            yield redis, Admissions(store)
        finally:
            await store.close()


async def book(admissions: Admissions, *nano_usd: int) -> None:
    """Make calls, each admitted and settled."""
    for cost in nano_usd:
        name = uuid4().hex
        admitted = await admissions.admit(name, SCOPES, "gpt-4", Estimate(1000, 10**6), lease_s=60, sent=True)
        assert isinstance(admitted, Leader)
        assert await admissions.settle(name, Usage(100, 10), cost) == "settled"


async def booked(redis: Redis) -> dict[str, dict[str, str]]:
    """Return every ledger and budget by its key."""
    keys = [str(key) for kind in ("ledger", "budget") for key in await redis.keys(f"conviction:{kind}:*")]
    return {key: cast(dict[str, str], await redis.hgetall(key)) for key in keys}


def spent(books: dict[str, dict[str, str]]) -> int:
    return sum(int(sums["nano_usd"]) for key, sums in books.items() if ":ledger:" in key)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The server's folder, and the backup's."""
    (tmp_path / "lost").mkdir()
    return tmp_path / "lost", tmp_path / "kept"


async def test_a_copied_log_restores_the_ledger_after_loss_of_the_server(
    folders: tuple[Path, Path],
) -> None:
    """Copied as in the guide during calls: rewrites disabled, the manifest first."""
    lost, kept = folders
    with Valkey(lost, COMPOSE) as valkey:
        async with opened(valkey) as (redis, admissions):
            await book(admissions, *CALLS)
            before = await booked(redis)
            going_on = asyncio.create_task(_go_on(admissions))
            await redis.config_set("auto-aof-rewrite-percentage", 0)
            await rewritten(redis)
            await asyncio.to_thread(shutil.copytree, lost / "appendonlydir", kept / "appendonlydir")
            await redis.config_set("auto-aof-rewrite-percentage", 100)
            going_on.cancel()
            await asyncio.gather(going_on, return_exceptions=True)
            after = await booked(redis)
        valkey.kill()
    shutil.rmtree(lost)
    with Valkey(kept, COMPOSE) as valkey:
        async with opened(valkey) as (redis, admissions):
            restored = await booked(redis)
            assert spent(before) == sum(CALLS)
            assert spent(before) <= spent(restored) <= spent(after)
            await book(admissions, 7)
            assert spent(await booked(redis)) == spent(restored) + 7


async def test_a_snapshot_restores_the_ledger_to_its_moment(folders: tuple[Path, Path]) -> None:
    """A server without a log loads the snapshot, and enables the log afterwards; one with a log would start empty."""
    lost, kept = folders
    with Valkey(lost, COMPOSE) as valkey:
        async with opened(valkey) as (redis, admissions):
            await book(admissions, *CALLS)
            before = await booked(redis)
            await redis.save()
            kept.mkdir()
            shutil.copyfile(lost / "dump.rdb", kept / "dump.rdb")
            await book(admissions, 10**6)
        valkey.kill()
    shutil.rmtree(lost)
    astray = Path(shutil.copytree(kept, kept.with_name("astray")))
    with Valkey(astray, COMPOSE) as valkey:
        async with opened(valkey) as (redis, _):
            assert await booked(redis) == {}
    with Valkey(kept, ("--appendonly", "no")) as valkey:
        async with opened(valkey) as (redis, _):
            assert await booked(redis) == before
            await redis.config_set("appendonly", "yes")
            await rewritten(redis)
        valkey.kill()
    with Valkey(kept, COMPOSE) as valkey:
        async with opened(valkey) as (redis, _):
            assert await booked(redis) == before


async def test_a_killed_server_has_all_that_was_answered(folders: tuple[Path, Path]) -> None:
    lost, _ = folders
    with Valkey(lost, COMPOSE) as valkey:
        async with opened(valkey) as (redis, admissions):
            await book(admissions, *CALLS)
            before = await booked(redis)
        valkey.kill()
        valkey.start()
        async with opened(valkey) as (redis, _):
            assert await booked(redis) == before


@pytest.fixture
def unkilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing beyond a limit is an error, as on a full disk, and no signal: SIGXFSZ stays ignored, as Python has it."""
    monkeypatch.setattr("tests.valkey.subprocess.Popen", partial(subprocess.Popen, restore_signals=False))


@pytest.mark.usefixtures("unkilled")
@pytest.mark.parametrize("options", [COMPOSE, EMBEDDED], ids=["compose", "embedded"])
async def test_a_full_disk_refuses_and_loses_nothing(folders: tuple[Path, Path], options: tuple[str, ...]) -> None:
    """A file size limit simulates the full disk: writes fail until it is lifted."""
    lost, _ = folders
    with Valkey(lost, options) as valkey:
        async with opened(valkey) as (redis, admissions):
            for _ in range(20):
                await book(admissions, 1000)
            process = int((await redis.info("server"))["process_id"])
            [log] = lost.glob("appendonlydir/*.incr.aof")
            before = await booked(redis)
            limit(process, log.stat().st_size + 4096)
            answered = await until_refused(admissions)
            assert "MISCONF" in await refusal(redis)
            with pytest.raises(StoreUnavailable):  # so that the gateway is not ready
                await check(redis)
            limit(process, resource.RLIM_INFINITY)
            await again(redis)
            after = await booked(redis)
            assert spent(before) + 1000 * answered <= spent(after) <= spent(before) + 1000 * (answered + 1)
            await book(admissions, 7)
            assert spent(await booked(redis)) == spent(after) + 7
            after = await booked(redis)
        valkey.kill()
        valkey.start()
        async with opened(valkey) as (redis, _):
            assert await booked(redis) == after


@pytest.mark.usefixtures("unkilled")
async def test_a_server_that_syncs_each_write_ends_on_a_full_disk_and_loses_nothing(
    folders: tuple[Path, Path],
) -> None:
    lost, _ = folders
    with Valkey(lost, KEPT) as valkey:
        async with opened(valkey) as (redis, admissions):
            process = int((await redis.info("server"))["process_id"])
            [log] = lost.glob("appendonlydir/*.incr.aof")
            limit(process, log.stat().st_size + 4096)
            answered = await until_refused(admissions)
            with pytest.raises(RedisConnectionError):
                await redis.ping()
        valkey.kill()
        valkey.start()
        async with opened(valkey) as (redis, _):
            assert 1000 * answered <= spent(await booked(redis)) <= 1000 * (answered + 1)


def limit(process: int, size: int) -> None:
    """Limit the bytes of a file that the process may write."""
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def until_refused(admissions: Admissions) -> int:
    """Return the number of calls charged before."""
    for answered in range(10_000):
        try:
            await book(admissions, 1000)
        except StoreUnavailable:
            return answered
    raise AssertionError("the disk was never full")


async def refusal(redis: Redis) -> str:
    """Return the error of a write; empty if it succeeds."""
    try:
        await redis.set("conviction:tests:written", 1)
    except RedisError as error:
        return str(error)
    return ""


async def rewritten(redis: Redis) -> None:
    """Wait until no rewrite of the log is running."""
    while int((await redis.info("persistence"))["aof_rewrite_in_progress"]):  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.01)


async def again(redis: Redis) -> None:
    """Wait until it accepts writes: it retries its log every second."""
    async with asyncio.timeout(TIMEOUT_S):
        while await refusal(redis):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _go_on(admissions: Admissions) -> None:
    while True:
        await book(admissions, 1)
