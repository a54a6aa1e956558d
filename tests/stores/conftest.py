"""Stores in a separate database of the server, with its clock or one that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from hashlib import sha1

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.accounting import admission
from app.accounting.admission import Admissions
from app.stores import connection, shared_calls
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from app.stores.scripts import ADMISSION, Script
from app.stores.shared_calls import SharedCalls

TIMEOUT_S = 20.0
"""So that a slow machine does not look like a store outage."""

CLOCK = "conviction:tests:clock"
TIME, SET_TIME = "redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 's', 'us')"
SCRIPTS = (
    (admission, ("ADMIT", "RENEW", "SETTLE", "RECOVER", "SWEEP", "LIMIT_STATUS")),
    (shared_calls, ("FOLLOW", "FOLLOWERS")),
)


class Clock:
    """The time that scripts read, in microseconds."""

    def __init__(self, store: Pipelined, now: int) -> None:
        self._store = store
        self.now = now

    async def forward(self, microseconds: int) -> None:
        self.now += microseconds
        await self._store.call("HSET", CLOCK, "s", self.now // 1_000_000, "us", self.now % 1_000_000)


def clocked(script: Script) -> Script:
    """The script with the tests' clock."""
    changed = Script(*ADMISSION, script.name)
    changed.source = script.source.replace(TIME, SET_TIME)
    assert changed.source != script.source
    changed.sha = sha1(changed.source.encode()).hexdigest()
    return changed


@pytest.fixture
def db_url(store_url: str) -> str:
    """A separate database."""
    return f"{store_url}?db=7"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give clients a longer timeout than a gateway's."""
    monkeypatch.setattr(connection, "TIMEOUT_S", TIMEOUT_S)


@pytest.fixture
async def redis(db_url: str, patient: None) -> AsyncIterator[Redis]:
    async with open_redis(SecretStr(db_url)) as redis:
        await redis.flushdb()
        yield redis


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[Pipelined]:
    store = Pipelined(redis, TIMEOUT_S)
    yield store
    await store.close()


@pytest.fixture
def admissions(store: Pipelined) -> Admissions:
    return Admissions(store)


@pytest.fixture
async def follower(redis: Redis, store: Pipelined) -> AsyncIterator[SharedCalls]:
    follower = SharedCalls(redis, store, TIMEOUT_S)
    yield follower
    await follower.close()


@pytest.fixture
def scripts_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in SCRIPTS:
        for name in names:
            monkeypatch.setattr(module, name, clocked(getattr(module, name)))


@pytest.fixture
async def clock(store: Pipelined, scripts_by_the_clock: None) -> Clock:
    """A clock set to noon."""
    clock = Clock(store, 1_800_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 43_200_000_000)
    await clock.forward(0)
    return clock


@pytest.fixture
def names() -> Iterator[str]:
    """Unique request ids."""
    return (f"req_{number}" for number in range(10**9))
