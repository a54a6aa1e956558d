"""Notices reach a receiver once a day, whichever gateway sends them and whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.accounting import budget_watch
from app.accounting.admission import Admissions
from app.accounting.budget_watch import BudgetWatch
from app.accounting.webhook import Webhook
from app.auth.principal import Principal
from app.backends.upstream import Upstream, open_upstream
from app.contract.completion import Usage
from app.errors import StoreUnavailable
from app.pricing.limits import Estimate, Limits
from app.pricing.prices import NANO
from app.settings.gateway import Settings
from app.stores.pipelined import Pipelined
from app.telemetry.metrics import Collectors
from tests.accounting.receiver import TOKEN, Receiver
from tests.doubles import PRICES, CountingBackend, ask, gateway

BUDGET = NANO
RESEARCH = Principal("abc", "research", None, False, Limits(nano_usd_per_day=2 * BUDGET))
UNLIMITED = Principal("def", "unlimited", None, False, Limits())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_watch, "INTERVAL_S", 0.02)
    monkeypatch.setattr(budget_watch, "MAX_PAUSE_S", 0.1)


def gpt4() -> Upstream:
    settings = Settings.model_validate({"gpt4_usd_per_day": "1"})
    return open_upstream(CountingBackend("gpt-4"), PRICES["gpt-4"], settings, Collectors())


class Watching:
    """A gateway's watch, and what it counted."""

    def __init__(self, url: str, admissions: Admissions, store: Pipelined) -> None:
        self.upstream, self._collectors, self._admissions = gpt4(), Collectors(), admissions
        self.watch = BudgetWatch(admissions, store, Webhook(SecretStr(url)), self._collectors)

    def count(self, result: str) -> float:
        value = self._collectors.registry.get_sample_value("conviction_budget_notices_total", {"result": result})
        assert value is not None
        return value

    async def spend(self, share: float, principal: Principal = UNLIMITED) -> None:
        """Charge a call that costs a share of the backend's budget, and note it."""
        request_id, nano_usd = uuid4().hex, int(share * BUDGET)
        scopes = (principal.scope, self.upstream.scope)
        await self._admissions.admit(request_id, scopes, "gpt-4", Estimate(1, nano_usd), lease_s=60, sent=True)
        await self._admissions.settle(request_id, Usage(1, 1), nano_usd)
        self.watch.note(principal, self.upstream)


@asynccontextmanager
async def watching(url: str, admissions: Admissions, store: Pipelined) -> AsyncIterator[Watching]:
    watching = Watching(url, admissions, store)
    try:
        yield watching
    finally:
        await watching.watch.close()


async def test_each_threshold_is_sent_once_for_all_gateways(
    receiver: Receiver, admissions: Admissions, store: Pipelined
) -> None:
    async with (
        watching(receiver.url, admissions, store) as first,
        watching(receiver.url, admissions, store) as second,
    ):
        for share, count in ((0.3, 0), (0.3, 1), (0.1, 1), (0.15, 2), (0.1, 2)):
            await first.spend(share)
            second.watch.note(UNLIMITED, second.upstream)
            await receiver.until(count)
            await asyncio.sleep(0.1)
            assert len(receiver.requests) == count
        for each in (first, second):
            each.watch.note(UNLIMITED, each.upstream, refused=int(0.06 * BUDGET))
        await receiver.until(3)
        await asyncio.sleep(0.1)
    assert receiver.thresholds(backend="gpt-4") == [50, 80, 100]
    assert [each["spent_usd"] for each in receiver.notices] == ["0.6", "0.85", "0.95"]
    assert first.count("sent") + second.count("sent") == 3


async def test_a_key_and_a_backend_have_separate_notices(
    receiver: Receiver, admissions: Admissions, store: Pipelined
) -> None:
    async with watching(receiver.url, admissions, store) as gateway:
        await gateway.spend(0.9, RESEARCH)
        await receiver.until(2)
        await gateway.spend(0.1, RESEARCH)
        await receiver.until(4)
    assert receiver.thresholds(backend="gpt-4") == [50, 80, 100]
    assert receiver.thresholds(key="research") == [50]


async def test_a_notice_is_sent_again_until_it_is_accepted(
    receiver: Receiver, admissions: Admissions, store: Pipelined, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 503, 404]
    async with watching(receiver.url, admissions, store) as gateway:
        await gateway.spend(0.5)
        await receiver.until(1)
    assert (receiver.thresholds(), receiver.refused) == ([50], 3)
    assert (gateway.count("failed"), gateway.count("sent"), gateway.count("dropped")) == (3, 1, 0)
    assert "status 503" in caplog.text and TOKEN not in caplog.text
    [key] = await redis.keys("conviction:notice:*")
    assert 86400 < await redis.ttl(key) <= budget_watch.SENT_S


async def test_the_claim_of_a_dead_gateway_ends(
    receiver: Receiver, admissions: Admissions, store: Pipelined, redis: Redis
) -> None:
    async with watching(receiver.url, admissions, store) as gateway:
        await gateway.spend(0.4)
        today = datetime.now(UTC).date()
        await redis.set(f"conviction:notice:backend:gpt-4:{today}:50", "claimed", px=400)
        await gateway.spend(0.2)
        await asyncio.sleep(0.2)
        assert receiver.requests == []
        await asyncio.sleep(0.3)
        gateway.watch.note(UNLIMITED, gateway.upstream)
        await receiver.until(1)


async def test_what_is_noted_is_sent_before_the_gateway_stops(
    receiver: Receiver, admissions: Admissions, store: Pipelined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_watch, "INTERVAL_S", 60.0)
    async with watching(receiver.url, admissions, store) as gateway:
        await gateway.spend(0.6)
        assert receiver.requests == []
    assert receiver.thresholds() == [50]


async def test_what_cannot_be_sent_is_counted_and_logged_when_the_gateway_stops(
    admissions: Admissions, store: Pipelined, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(f"http://127.0.0.1:1/{TOKEN}", admissions, store) as gateway:
        await gateway.spend(0.6)
        async with asyncio.timeout(20):
            while not gateway.count("failed"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert gateway.count("dropped") == 1
    assert "were not sent" in caplog.text and TOKEN not in caplog.text
    assert await redis.keys("conviction:notice:*") == []  # another gateway may send it


async def test_more_budgets_than_can_wait_are_dropped_and_counted(
    receiver: Receiver, admissions: Admissions, store: Pipelined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_watch, "INTERVAL_S", 60.0)
    monkeypatch.setattr(budget_watch, "CAPACITY", 1)
    async with watching(receiver.url, admissions, store) as gateway:
        for _ in range(3):
            gateway.watch.note(RESEARCH, gateway.upstream)
        assert gateway.count("dropped") == 3


async def test_a_store_outage_delays_notices(
    receiver: Receiver, admissions: Admissions, store: Pipelined, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object) -> None:
        raise StoreUnavailable("Redis cannot be reached")

    async with watching(receiver.url, admissions, store) as gateway:
        with monkeypatch.context() as outage:
            outage.setattr(store, "call", unavailable)
            await asyncio.sleep(0.1)
            gateway.watch.note(UNLIMITED, gateway.upstream)
            await asyncio.sleep(0.1)
        await gateway.spend(0.6)
        await receiver.until(1)
    assert receiver.thresholds() == [50]


async def test_a_gateway_that_stops_has_sent_notices_of_what_it_answered_and_refused(
    receiver: Receiver, own_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_watch, "INTERVAL_S", 60.0)
    settings: dict[str, Any] = {
        "gpt4_usd_per_day": "0.03",
        "budget_webhook_url": receiver.url,
        "metrics_key_names": "local, absent",
    }
    async with gateway(own_store, **settings) as running:
        while (await ask(running, X_Backend="gpt-4", Cache_Control="no-store")).status_code == 200:
            pass
        by_key = running.sample("conviction_key_cost_usd_total", key_name="local", backend="gpt-4")
        assert by_key == pytest.approx(running.sample("conviction_cost_usd_total", backend="gpt-4"))
        assert running.sample("conviction_key_tokens_total", key_name="local") > 0
        assert running.sample("conviction_key_tokens_total") == running.sample("conviction_tokens_total")
    reached = receiver.thresholds(backend="gpt-4")
    assert sorted(set(reached)) == reached
    assert {50, 100} <= set(reached)
    assert all(each["limit_usd"] == "0.03" for each in receiver.notices)
