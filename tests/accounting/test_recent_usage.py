"""Recent usage: what was settled in the last hour by Redis' clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.accounting import recent_usage
from app.accounting.admission import Admissions
from app.accounting.recent_usage import RecentUsage, Use
from app.contract.completion import Usage
from app.pricing.limits import Estimate
from app.stores.pipelined import Pipelined
from tests.stores.conftest import Clock, clocked

MINUTE = 60_000_000


@pytest.fixture(autouse=True)
def by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_usage, "RECENT_USAGE", clocked(recent_usage.RECENT_USAGE))


@pytest.fixture
def recent(store: Pipelined) -> RecentUsage:
    return RecentUsage(store)


async def spend(admissions: Admissions, request_id: str, usage: Usage | None) -> None:
    await admissions.admit(request_id, (), "gpt-4", Estimate(10, 10), lease_s=10)
    if usage is None:
        await admissions.release(request_id)
    else:
        await admissions.settle(request_id, usage, 7)


async def test_without_calls_usage_is_zero(recent: RecentUsage, clock: Clock) -> None:
    assert await recent.of("gpt-4") == Use()
    assert Use().tokens == 0


async def test_calls_of_the_last_hour_add_up(
    recent: RecentUsage, admissions: Admissions, clock: Clock, names: Iterator[str]
) -> None:
    for _ in range(3):
        await spend(admissions, next(names), Usage(400, 11, 100, 5))
        await clock.forward(15 * MINUTE)
    await spend(admissions, next(names), None)
    found = await recent.of("gpt-4")
    assert found == Use(requests=3, input_tokens=900, cached_input_tokens=300, output_tokens=33, nano_usd=21)
    assert found.tokens == 1233
    assert await recent.of("mistral") == Use()
    await clock.forward(15 * MINUTE)
    assert (await recent.of("gpt-4")).requests == 2
    await clock.forward(30 * MINUTE)
    assert await recent.of("gpt-4") == Use()


async def test_a_repeated_settlement_counts_once(
    recent: RecentUsage, admissions: Admissions, clock: Clock, names: Iterator[str]
) -> None:
    name = next(names)
    await spend(admissions, name, Usage(400, 11))
    await admissions.settle(name, Usage(400, 11), 7)
    assert (await recent.of("gpt-4")).requests == 1
