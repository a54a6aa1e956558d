"""Settlements are booked once, also if the store hangs or the settling task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.accounting import settlement
from app.accounting.admission import Admissions, CacheHit, Leader, Settlement
from app.accounting.limit_status import LimitStatus
from app.accounting.settlement import Settlements
from app.contract.completion import NO_USAGE, Usage
from app.errors import StoreUnavailable
from app.pricing.limits import Estimate, Limits, Scope
from app.pricing.prices import Cost
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from app.stores.shared_calls import CallResult
from app.telemetry.metrics import Collectors
from tests.doubles import PRICES
from tests.valkey import Valkey

SCOPES = (Scope("backend:gpt-4", Limits(nano_usd_per_day=10**9)),)
USAGE = Usage(100, 10)
COST: Cost = PRICES["gpt-4"].cost(USAGE)
RESERVED = 10**6


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "RETRY_S", 0.05)


@dataclass
class Books:
    """Settlements and their store."""

    redis: Redis
    admissions: Admissions
    settlements: Settlements
    collectors: Collectors

    async def sent(self, name: str, flight: str | None = None) -> LimitStatus:
        admission = await self.admissions.admit(
            name, SCOPES, "gpt-4", Estimate(200, RESERVED), lease_s=60, call_key=flight, sent=True
        )
        assert isinstance(admission, Leader)
        return admission.limit_status

    async def settle(self, name: str, admitted: LimitStatus | None = None) -> None:
        await self.settlements.settle(name, "gpt-4", USAGE, COST, admitted=admitted)

    async def release(self, name: str) -> None:
        await self.settlements.settle(name, "gpt-4", NO_USAGE, None)

    async def budget(self) -> tuple[int, int]:
        """Nano-dollars used and reserved today."""
        [key] = await self.redis.keys("conviction:budget:backend:gpt-4:*")
        sums = await self.redis.hgetall(key)
        return int(sums.get("used", 0)), int(sums.get("reserved", 0))

    async def nano_usd(self) -> int:
        """Nano-dollars in today's ledger."""
        [key] = await self.redis.keys("conviction:ledger:gpt-4:*")
        return int(await self.redis.hget(key, "nano_usd") or 0)

    async def becomes(self, used: int, reserved: int) -> None:
        async with asyncio.timeout(20):
            while await self.budget() != (used, reserved):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
async def books(valkey: Valkey) -> AsyncIterator[Books]:
    async with open_redis(SecretStr(valkey.url)) as redis:
        store, collectors = Pipelined(redis), Collectors()
        admissions = Admissions(store)
        books = Books(redis, admissions, Settlements(admissions, collectors), collectors)
        yield books
        await books.settlements.close()
        await store.close()


async def test_a_settlement_is_booked_and_its_result_cached(books: Books) -> None:
    await books.sent("one", "flight")
    await books.settlements.settle("one", "gpt-4", USAGE, COST, CallResult(b"said", 60))
    assert await books.budget() == (COST.nano_usd, 0)
    hit = await books.admissions.admit("two", SCOPES, "gpt-4", Estimate(1, 1), lease_s=60, call_key="flight")
    assert isinstance(hit, CacheHit)
    assert hit.value == b"said"


async def test_a_call_that_cost_nothing_is_released(books: Books) -> None:
    await books.sent("one")
    assert await books.budget() == (0, RESERVED)
    await books.release("one")
    assert await books.budget() == (0, 0)


async def test_settlements_wait_for_an_unavailable_store(
    books: Books, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two", "free"):
        await books.sent(name)
    valkey.hang()
    await asyncio.gather(books.settle("one"), books.settle("two"), books.release("free"))
    assert caplog.text.count("a settlement waits for the store") == 3
    assert books.collectors.registry.get_sample_value("conviction_store_errors_total", {"store": "ledger"}) == 3
    valkey.go_on()
    await books.becomes(2 * COST.nano_usd, 0)


async def test_a_settlement_is_retried_and_booked_once(books: Books, valkey: Valkey) -> None:
    await books.sent("one")
    valkey.kill()
    await books.settle("one")
    await asyncio.sleep(0.3)
    valkey.start()
    await books.becomes(COST.nano_usd, 0)
    await books.settle("one")
    assert await books.budget() == (COST.nano_usd, 0)


@pytest.mark.parametrize("free", [False, True], ids=["settled", "released"])
async def test_a_cancelled_settlement_is_booked(books: Books, valkey: Valkey, free: bool) -> None:
    await books.sent("one")
    valkey.hang()
    reservation = asyncio.create_task(books.release("one") if free else books.settle("one"))
    await asyncio.sleep(0.05)
    reservation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reservation
    valkey.go_on()
    await books.becomes(0 if free else COST.nano_usd, 0)


class Stuck:
    """Admissions whose store rejects the settlement of one call."""

    def __init__(self, admissions: Admissions, name: str) -> None:
        self._admissions, self._name = admissions, name
        self.tried = 0

    async def settle(self, request_id: str, *booked: Any) -> Settlement:
        if request_id == self._name:
            self.tried += 1
            raise StoreUnavailable("Redis rejected a script")
        return await self._admissions.settle(request_id, *booked)


@pytest.mark.parametrize("closing", [False, True], ids=["retrying", "closing"])
async def test_a_settlement_that_always_fails_blocks_no_other(
    books: Books, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, closing: bool
) -> None:
    monkeypatch.setattr(settlement, "RETRY_S", 60 if closing else 0.05)
    names = ("first", "stuck", "last")
    for name in names:
        await books.sent(name)
    valkey.hang()
    await asyncio.gather(*map(books.settle, names))
    stuck = Stuck(books.admissions, "stuck")
    monkeypatch.setattr(books.settlements, "_admissions", stuck)
    valkey.go_on()
    if closing:
        await books.settlements.close()
    await books.becomes(2 * COST.nano_usd, RESERVED)
    assert stuck.tried > 0


async def test_closing_tries_pending_settlements(books: Books, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "RETRY_S", 60)
    await books.sent("one")
    valkey.hang()
    await books.settle("one")
    valkey.go_on()
    await books.settlements.close()
    assert await books.budget() == (COST.nano_usd, 0)


async def test_lost_settlements_are_logged(
    books: Books, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlement, "MAX_PENDING", 2)
    names = ("oldest", "older", "newest")
    for name in names:
        await books.sent(name)
    valkey.kill()
    for name in names:
        await books.settle(name)
    lost = f"{COST.nano_usd} nano-dollars of gpt-4 are in no ledger: "
    assert lost + "oldest" in caplog.text
    assert lost + "newest" not in caplog.text
    await books.settlements.close()
    assert lost + "newest" in caplog.text


async def test_a_call_without_a_reservation_is_logged(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    books.settlements.log_unreserved("gpt-4", COST)
    value = books.collectors.registry.get_sample_value
    assert value("conviction_store_errors_total", {"store": "ledger"}) == 1
    assert f"{COST.nano_usd} nano-dollars of gpt-4 are in no ledger" in caplog.text


# A failover to a server without the reservation


async def lost(books: Books, name: str) -> LimitStatus:
    """Admit a call, and leave the store as if it had never been admitted."""
    admitted = await books.sent(name)
    await books.redis.flushdb()
    return admitted


async def test_a_call_whose_reservation_was_lost_is_booked_once(books: Books) -> None:
    admitted = await lost(books, "one")
    await books.settle("one", admitted)
    assert (await books.budget(), await books.nano_usd()) == ((COST.nano_usd, 0), COST.nano_usd)
    [budget] = await books.redis.keys("conviction:budget:*")
    assert await books.redis.ttl(budget) > 0
    before = {key: await books.redis.dump(key) for key in await books.redis.keys("conviction:budget:*")}
    await books.settle("one", admitted)
    assert not await books.admissions.recover("one", "gpt-4", USAGE, COST.nano_usd, admitted)
    assert (await books.budget(), await books.nano_usd()) == ((COST.nano_usd, 0), COST.nano_usd)
    assert before == {key: await books.redis.dump(key) for key in await books.redis.keys("conviction:budget:*")}


async def test_a_lost_call_that_cost_nothing_leaves_no_charge(books: Books) -> None:
    await lost(books, "one")
    await books.release("one")
    assert await books.redis.keys("conviction:budget:*") == []


async def test_a_lost_call_is_booked_in_the_limits_of_its_admission(books: Books) -> None:
    limited = Scope("key:one", Limits(tokens_per_minute=1000, nano_usd_per_day=10**9))
    admission = await books.admissions.admit("one", (limited, *SCOPES), "gpt-4", Estimate(500, RESERVED), lease_s=60)
    assert isinstance(admission, Leader)
    await books.redis.flushdb()
    await books.settle("one", admission.limit_status)
    status = await books.admissions.limit_status([limited])
    assert {window.reason: window.limit - window.remaining for window in status.windows()} == {
        "tokens": pytest.approx(110, abs=5),
        "budget": COST.nano_usd,
    }


@pytest.mark.parametrize("failing", ["settle", "recover"])
async def test_a_lost_call_is_booked_though_the_store_fails_meanwhile(
    books: Books, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """The reply of the first attempt is lost, after its script has run."""
    admitted = await lost(books, "one")
    run = getattr(books.admissions, failing)

    async def fail(*arguments: Any) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(settlement, "RETRY_S", 0.05)
        await run(*arguments)
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(books.admissions, failing, fail)
    await books.settle("one", admitted)
    async with asyncio.timeout(20):
        while books.settlements._pending or not await books.redis.keys("conviction:ledger:*"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await books.budget(), await books.nano_usd()) == ((COST.nano_usd, 0), COST.nano_usd)


async def test_a_settlement_that_is_repeated_late_is_not_taken_for_a_lost_one(
    books: Books, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store forgets a settlement after two minutes; what it booked stays."""
    monkeypatch.setattr(settlement, "RECOVERABLE_S", 0.0)
    admitted = await books.sent("one")
    await books.settle("one", admitted)
    await books.redis.delete("conviction:reservation:one")
    await books.settle("one", admitted)
    assert await books.budget() == (COST.nano_usd, 0)
    assert "is in no ledger yet" in caplog.text
