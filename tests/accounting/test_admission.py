"""Admission: exact limits and budgets, all or nothing, and usage booked once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from app.accounting import admission
from app.accounting.admission import Admissions, CacheHit, Follower, Leader
from app.contract.completion import Usage
from app.errors import BudgetExceeded, LimitReached, RateLimited, StoreUnavailable
from app.pricing.limits import MAX_CALL_NANO_USD, Estimate, Limits, Scope
from app.stores.pipelined import Pipelined
from app.stores.shared_calls import CallResult
from tests.stores.conftest import TIMEOUT_S, Clock

USAGE = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100, reasoning_tokens=3)
ESTIMATE = Estimate(1000, 5000)
BACKEND = Scope("backend:gpt-4", Limits())
DAY = "2027-01-15"
MINUTE_US = 60_000_000
DAYS_S = 10**6
"""A lease that does not end during a test."""


def key(requests: int | None = None, tokens: int | None = None, nano_usd: int | None = None) -> Scope:
    return Scope("key:0123456789ab", Limits(requests, tokens, nano_usd))


async def budget(redis: Redis, scope: str, day: str = DAY) -> tuple[int, int]:
    """Nano-dollars used and reserved."""
    used, reserved = await redis.hmget(f"conviction:budget:{scope}:{day}", ["used", "reserved"])
    return int(used or 0), int(reserved or 0)


async def ledger(redis: Redis, day: str = DAY) -> dict[str, int]:
    sums = await redis.hgetall(f"conviction:ledger:gpt-4:{day}")
    return {name: int(value) for name, value in sums.items()}


async def everything(redis: Redis) -> dict[str, object]:
    """All keys and values."""
    kept: dict[str, object] = {}
    for name in await redis.keys("conviction:*"):
        match await redis.type(name):
            case "hash":
                kept[name] = await redis.hgetall(name)
            case "zset":
                kept[name] = await redis.zrange(name, 0, -1, withscores=True)
            case _:
                kept[name] = await redis.execute_command("GET", name, NEVER_DECODE=True)
    return kept


async def admitted(
    admissions: Admissions, names: Iterator[str], scope: Scope, estimate: Estimate = ESTIMATE, lease_s: float = DAYS_S
) -> str:
    """Admit a leader and return its request id."""
    name = next(names)
    admission = await admissions.admit(name, (scope, BACKEND), "gpt-4", estimate, lease_s=lease_s)
    assert isinstance(admission, Leader)
    return name


async def refused(admissions: Admissions, names: Iterator[str], scope: Scope) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        await admitted(admissions, names, scope)
    return caught.value


async def waits_exactly(
    admissions: Admissions, names: Iterator[str], scope: Scope, clock: Clock, error: LimitReached
) -> None:
    """The request is refused a microsecond before its wait ends, and admitted then."""
    assert error.retry_after is not None
    wait_us = round(error.retry_after * 1_000_000)
    await clock.forward(wait_us - 1)
    await refused(admissions, names, scope)
    await clock.forward(1)
    await admitted(admissions, names, scope)


@pytest.mark.parametrize("limit", [1, 60])
async def test_requests_a_minute(admissions: Admissions, names: Iterator[str], clock: Clock, limit: int) -> None:
    scope = key(requests=limit)
    for _ in range(limit):
        await admitted(admissions, names, scope)
    error = await refused(admissions, names, scope)
    assert isinstance(error, RateLimited)
    assert (error.scope, error.reason) == ("key", "requests")
    assert error.detail == f"the key's limit of {limit} requests a minute is reached"
    await waits_exactly(admissions, names, scope, clock, error)
    await clock.forward(MINUTE_US)
    for _ in range(limit):
        await admitted(admissions, names, scope)
    await refused(admissions, names, scope)


async def test_a_request_larger_than_the_limit_has_no_retry_after(
    admissions: Admissions, names: Iterator[str], clock: Clock
) -> None:
    error = await refused(admissions, names, key(tokens=999))
    assert error.detail == "the request may take more than the key's limit of 999 tokens a minute"
    assert error.retry_after is None
    assert "Retry-After" not in error.headers()


async def test_a_call_beyond_the_daily_budget_has_no_retry_after(admissions: Admissions, names: Iterator[str]) -> None:
    error = await refused(admissions, names, key(nano_usd=4999))
    assert isinstance(error, BudgetExceeded)
    assert error.detail == "the request may take more than the key's limit of 0.000004999 USD a day"
    assert error.retry_after is None


async def test_usd_a_day(admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock) -> None:
    scope = key(nano_usd=12_000)
    first = await admitted(admissions, names, scope)
    await admitted(admissions, names, scope)
    error = await refused(admissions, names, scope)
    assert isinstance(error, BudgetExceeded)
    assert error.detail == "what is left of the key's 0.000012 USD a day does not cover the request"
    assert (error.scope, error.reason, error.retry_after) == ("key", "budget", 43_200)
    await admissions.settle(first, USAGE, 2000)
    assert await budget(redis, scope.name) == (2000, 5000)
    await admitted(admissions, names, scope)  # 2,000 + 5,000 + 5,000 nano-dollars
    await waits_exactly(admissions, names, scope, clock, await refused(admissions, names, scope))


@pytest.mark.parametrize(
    "tight", [Limits(requests_per_minute=1), Limits(tokens_per_minute=1000), Limits(nano_usd_per_day=5000)]
)
async def test_a_refusal_reserves_nothing(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock, tight: Limits
) -> None:
    """For each limit, also if an earlier scope admits."""
    generous = key(100, 100_000, 10**9)
    scopes = (generous, Scope("backend:gpt-4", tight))
    call = ("gpt-4", ESTIMATE)
    await admissions.admit(next(names), scopes, *call, lease_s=10, call_key="one")
    before = await everything(redis)
    with pytest.raises(LimitReached) as caught:
        await admissions.admit(next(names), scopes, *call, lease_s=10, call_key="two")
    assert caught.value.scope == "backend"
    assert await everything(redis) == before


async def test_a_limit_of_zero_refuses_all(admissions: Admissions, names: Iterator[str], clock: Clock) -> None:
    for scope in (key(requests=0), key(tokens=0), key(nano_usd=0)):
        await refused(admissions, names, scope)


async def test_limits_hold_across_connections(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    """Two gateways, 200 callers each, one limit of 50."""
    others = Pipelined(redis, TIMEOUT_S)
    gateways = (admissions, Admissions(others))
    calls = [admitted(gateways[number % 2], names, key(requests=50)) for number in range(400)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 50
    assert sum(isinstance(result, RateLimited) for result in results) == 350
    await others.close()


async def test_the_ledger_is_the_sum_of_the_answers(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    scope = key(nano_usd=10**9)
    for _ in range(3):
        assert await admissions.settle(await admitted(admissions, names, scope), USAGE, 7) == "settled"
    estimated = Usage(400, 11, 100, 3, estimated=True)
    await admissions.settle(await admitted(admissions, names, scope), estimated, 9)
    assert await ledger(redis) == {
        "requests": 4,
        "input_tokens": 1200,
        "cached_input_tokens": 400,
        "output_tokens": 44,
        "nano_usd": 30,
        "estimated_requests": 1,
    }
    assert await redis.ttl(f"conviction:ledger:gpt-4:{DAY}") > 365 * 24 * 3600


async def test_settling_twice_changes_nothing(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    scope = key(1000, 100_000, 10**9)
    name = await admitted(admissions, names, scope)
    assert await admissions.settle(name, USAGE, 7) == "settled"
    before = await everything(redis)
    assert await admissions.settle(name, USAGE, 7_000_000) == "repeated"
    assert await admissions.release(name) == "repeated"
    assert await everything(redis) == before


async def test_settling_an_unknown_request_books_nothing_and_logs_it(
    admissions: Admissions, redis: Redis, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    before = await everything(redis)
    assert await admissions.settle("never-admitted", USAGE, 7) == "unknown"
    assert "never-admitted" in caplog.text
    tombstone = "conviction:reservation:never-admitted"
    assert 0 < await redis.ttl(tombstone) <= 3600
    await redis.delete(tombstone)
    assert await everything(redis) == before


@pytest.mark.parametrize("late", [False, True], ids=["in order", "admission last"])
@pytest.mark.parametrize("cost", [None, 7], ids=["released", "settled"])
async def test_an_admission_that_arrives_after_its_settlement_reserves_nothing(
    admissions: Admissions, redis: Redis, clock: Clock, late: bool, cost: int | None
) -> None:
    scope = key(1000, 100_000, 10**9)

    async def admit() -> None:
        await admissions.admit("a", (scope, BACKEND), "gpt-4", ESTIMATE, lease_s=10, sent=True)

    async def settle() -> str:
        return await (admissions.release("a") if cost is None else admissions.settle("a", USAGE, cost))

    if late:
        assert await settle() == "unknown"
        with pytest.raises(ValueError, match="settled already"):
            await admit()
    else:
        await admit()
    assert await settle() == ("repeated" if late else "settled")
    await clock.forward(20_000_000)
    await admissions.sweep()
    for name in (scope.name, BACKEND.name):
        assert await budget(redis, name) == (cost or 0, 0)
    assert (await ledger(redis)).get("nano_usd", 0) == (cost or 0)
    assert "unconfirmed_requests" not in await ledger(redis)
    [tokens] = [w for w in (await admissions.limit_status([scope])).windows() if w.reason == "tokens"]
    assert tokens.remaining == 100_000


@pytest.mark.parametrize("usage", [Usage(2**64 - 1, 0), Usage(100, 2**200, 128), Usage(-5, -5, -5), Usage(100, 1, 128)])
@pytest.mark.parametrize("nano_usd", [7, -7, 2**64])
async def test_amounts_out_of_bounds_are_booked_once_within_them(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock, usage: Usage, nano_usd: int
) -> None:
    scope = key(tokens=1000, nano_usd=10**15)
    name = await admitted(admissions, names, scope, Estimate(1000, 2**70))
    assert await admissions.settle(name, usage, nano_usd) == "settled"
    assert await admissions.settle(name, usage, nano_usd) == "repeated"
    used, reserved = await budget(redis, scope.name)
    assert (used, reserved) == (max(0, min(nano_usd, MAX_CALL_NANO_USD)), 0)
    assert all(0 <= amount <= MAX_CALL_NANO_USD for amount in (await ledger(redis)).values())


@pytest.mark.parametrize("amount", ["-1", "0.5", "1e300", "nan", "inf", "x", 2**64])
async def test_a_script_refuses_an_impossible_amount_before_it_writes(
    admissions: Admissions, store: Pipelined, redis: Redis, names: Iterator[str], clock: Clock, amount: str | int
) -> None:
    name = await admitted(admissions, names, key(tokens=10**6, nano_usd=10**9))
    before = await everything(redis)
    for place in range(4):
        numbers = [amount if place == each else 1 for each in range(4)]
        with pytest.raises(StoreUnavailable):
            await store.run(admission.SETTLE, name, "over", "", 0, *numbers, 0)
    for numbers in ((amount, 1), (1, amount)):
        with pytest.raises(StoreUnavailable):
            await store.run(admission.ADMIT, "b", "gpt-4", *numbers, "", 0, 0, "sent", 10**6, *BACKEND.arguments)
    assert await everything(redis) == before


async def test_a_reservation_of_another_version_or_none_at_all_blocks_nothing(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    other, broken = next(names), next(names)
    await redis.set(f"conviction:reservation:{other}", msgpack({"version": 2}))
    await redis.set(f"conviction:reservation:{broken}", b"\xc1")
    await redis.zadd("conviction:leases", {other: 1, broken: 1})
    await redis.set("conviction:rate:tokens:backend:gpt-4", "another format")
    scope = Scope("backend:gpt-4", Limits(tokens_per_minute=10**6))
    await admissions.admit(next(names), (scope,), "gpt-4", ESTIMATE, lease_s=10)
    assert await redis.zcard("conviction:leases") == 1
    assert await admissions.release(other) == "unknown"


def msgpack(document: dict[str, int]) -> bytes:
    """Return a map of short names and small numbers."""
    members = b"".join(bytes([0xA0 + len(name)]) + name.encode() + bytes([number]) for name, number in document.items())
    return bytes([0x80 + len(document)]) + members


async def test_share_returns_shared_results_and_otherwise_reserves_nothing(
    admissions: Admissions, redis: Redis, clock: Clock
) -> None:
    scopes = (key(requests=4, tokens=10, nano_usd=1), BACKEND)
    before = await everything(redis)
    assert await admissions.share("a", scopes, "f") is None
    assert await everything(redis) == before
    await admissions.admit("leader", (BACKEND,), "gpt-4", ESTIMATE, lease_s=1, call_key="f")
    assert isinstance(await admissions.share("b", scopes, "f"), Follower)
    await admissions.settle("leader", USAGE, 7, CallResult(b"\x00\xffanswer", 60))
    hit = await admissions.share("c", scopes, "f")
    assert isinstance(hit, CacheHit)
    assert hit.value == b"\x00\xffanswer"
    assert [window.remaining for window in hit.limit_status.windows()] == [2, 10, 1]
    assert await admissions.share("d", scopes, "f", read_cache=False) is None
    assert await budget(redis, scopes[0].name) == (0, 0)


async def test_a_late_release_removes_an_unconfirmed_charge(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    scope = key(nano_usd=5000 * 1000)
    for _ in range(1000):
        await admitted(admissions, names, scope, lease_s=10)
    await refused(admissions, names, scope)
    await clock.forward(10_000_000)
    await admitted(admissions, names, scope, Estimate(1, 5000 * 1000))


async def test_a_cached_answer_counts_as_a_request_only(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    call = ((key(),), "gpt-4", ESTIMATE)
    for name, result in (
        ("kept", CallResult(b"x", 30)),
        ("not", CallResult(b"x")),
        ("failed", CallResult(error="backend_error")),
    ):
        await admissions.admit(name, *call, lease_s=10, call_key=name)
        await admissions.settle(name, USAGE, 7, result)
    assert await redis.keys("conviction:answer:*") == ["conviction:answer:kept"]
    assert 0 < await redis.ttl("conviction:answer:kept") <= 30


async def test_a_leader_whose_lease_ended_is_replaced(
    admissions: Admissions, names: Iterator[str], clock: Clock
) -> None:
    scope = key(requests=2)
    call = ((scope, BACKEND), "gpt-4", ESTIMATE)
    await admissions.admit(next(names), *call, lease_s=10, call_key="f")
    follower = next(names)
    assert isinstance(await admissions.admit(follower, *call, lease_s=10, call_key="f"), Follower)
    await clock.forward(10_000_000)
    again = await admissions.admit(follower, *call, lease_s=10, call_key="f", counted=True)
    assert isinstance(again, Leader)  # and its two requests were counted once each
    other = await admissions.admit(next(names), *call, lease_s=10, call_key="f", counted=True)
    assert isinstance(other, Follower)
    assert other.leader == follower


async def test_a_request_id_is_admitted_once(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    name = await admitted(admissions, names, key(nano_usd=10**6))
    before = await everything(redis)
    with pytest.raises(ValueError, match="admitted before"):
        await admissions.admit(name, (key(),), "gpt-4", ESTIMATE, lease_s=10)
    assert await everything(redis) == before


async def test_a_refusal_contains_no_key(admissions: Admissions, names: Iterator[str], clock: Clock) -> None:
    for scope in (key(requests=0), key(tokens=5), key(nano_usd=1)):
        error = await refused(admissions, names, scope)
        assert "0123456789ab" not in f"{error.detail} {error.headers()} {error!r}"


async def test_a_full_store_refuses_admissions_and_accepts_settlements(
    admissions: Admissions, redis: Redis, names: Iterator[str], clock: Clock
) -> None:
    name = await admitted(admissions, names, key())
    before = await everything(redis)
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable):
            await admitted(admissions, names, key(5, 5000, 10**6))
        assert await everything(redis) == before
        assert await admissions.settle(name, USAGE, 7) == "settled"
    finally:
        await redis.config_set("maxmemory", 0)
    assert (await ledger(redis))["nano_usd"] == 7
    assert await budget(redis, "backend:gpt-4") == (7, 0)
