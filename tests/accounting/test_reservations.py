"""Limits, budgets and the ledger as clients and operators see them, also during a store outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.accounting import reservations
from app.contract.completion import NO_USAGE, BackendName, Usage
from app.errors import BackendError, BackendUnavailable
from app.pricing.limits import Estimate
from app.pricing.prices import NANO
from app.stores.connection import open_redis
from app.stores.redis_protocol import Argument
from app.stores.scripts import Script
from tests.doubles import (
    EXAMPLE_BODY,
    PARTIAL_USAGE,
    PRICES,
    USAGE,
    Broken,
    Gateway,
    ModelReply,
    ask,
    completion,
    gateway,
    ledger,
)
from tests.valkey import Valkey

BUY = '{"action":"buy","conviction":7}'
NONSENSE = "I would rather hold."
SOON_S = 20.0


def another(number: int) -> dict[str, object]:
    """A unique request."""
    return EXAMPLE_BODY | {"ticker": f"T{number}"}


def refused(response: httpx.Response, code: str) -> int:
    """Check the refusal and return its Retry-After."""
    assert (response.status_code, response.json()["code"]) == (429, code), response.text
    seconds = int(response.headers["retry-after"])
    assert response.json()["retry_after"] == seconds
    return seconds


# Limits


async def test_requests_beyond_the_limit_are_refused_with_retry_after(own_store: str) -> None:
    async with gateway(own_store, mistral_requests_per_minute=2) as running:
        began = time.monotonic()
        for number in range(2):
            response = await ask(running, another(number))
            assert response.headers["ratelimit-policy"] == '"backend-requests";q=2;w=60'
            assert response.headers["ratelimit"].startswith(f'"backend-requests";r={1 - number};t=')
        response = await ask(running, another(2))
        waited = time.monotonic() - began
        assert 30 - waited <= refused(response, "rate_limited") <= 30
        assert response.headers["ratelimit"].startswith('"backend-requests";r=0;t=')
        assert "the backend's limit of 2 requests a minute is reached" in response.json()["detail"]
        assert running.asked == 2
        assert running.sample("conviction_limited_total", scope="backend", reason="requests") == 1
        labels = {"backend": "mistral", "detail": "brief", "outcome": "rate_limited"}
        assert running.sample("conviction_requests_total", **labels) == 1
        assert (await ask(running, another(2), X_Backend="gpt-4")).status_code == 200  # the other's are its own


async def test_a_request_after_retry_after_is_admitted(own_store: str) -> None:
    async with gateway(own_store, mistral_requests_per_minute=60) as running:
        for number in range(60):
            assert (await ask(running, another(number))).status_code == 200
        response = await ask(running, another(60))
        while response.status_code == 200:  # so slow a machine that one has drained
            response = await ask(running, another(60))
        await asyncio.sleep(refused(response, "rate_limited"))
        assert (await ask(running, another(60))).status_code == 200


# Budgets


async def test_a_budget_is_never_exceeded_and_retry_after_is_the_end_of_the_day(own_store: str) -> None:
    async with gateway(own_store, wire=True, gpt4_usd_per_day="0.05", gpt4_max_concurrency=100) as running:
        before = ceil(seconds_of_today_left())
        responses = await asyncio.gather(*(ask(running, another(n), X_Backend="gpt-4") for n in range(60)))
        good = [response for response in responses if response.status_code == 200]
        bad = [response for response in responses if response.status_code != 200]
        assert good
        assert bad
        for response in bad:
            if before > 60:
                assert before - 60 <= refused(response, "budget_exceeded") <= before
            assert "does not cover the request" in response.json()["detail"]
        paid = sum(Decimal(response.json()["cost"]["usd"]) for response in good)
        assert paid <= Decimal("0.05")
        assert (await ledger(running, "gpt-4"))["nano_usd"] == paid * NANO
        assert running.sample("conviction_limited_total", scope="backend", reason="budget") == len(bad)
        assert float(paid) == pytest.approx(await budget_used(running))
        assert running.sample("conviction_budget_limit_usd", backend="gpt-4") == 0.05
        while (await ask(running, X_Backend="gpt-4", Cache_Control="no-store")).status_code == 200:
            pass  # until what is left covers no request more
        used = await budget_used(running)
        most = running.resources.upstreams["gpt-4"].max_estimate(running.backends["gpt-4"].asked[0][0], 64, 2)
        assert 0.05 - most.nano_usd / NANO < used <= 0.05


def seconds_of_today_left() -> float:
    now = datetime.now(UTC)
    return (now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now).total_seconds()


async def budget_used(running: Gateway) -> float:
    await running.client.get("/metrics")
    return running.sample("conviction_budget_used_usd", backend="gpt-4")


async def test_the_lease_of_a_long_call_is_renewed(own_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "LEASE_S", 1.0)
    monkeypatch.setattr(reservations, "RENEW_S", 0.1)
    async with gateway(own_store, wire=True, mistral_usd_per_day="1") as running:
        running.mistral.go = asyncio.Event()
        pending = asyncio.create_task(ask(running))
        await running.mistral.began(1)
        await asyncio.sleep(1.5)
        running.mistral.go.set()
        assert (await pending).status_code == 200
        sums = await ledger(running, "mistral")
        assert (sums["requests"], sums.get("unconfirmed_requests", 0)) == (1, 0)


# The ledger is the sum of what answers said


@dataclass(frozen=True)
class Plan:
    """A request, the outcome of its calls, and its total usage."""

    backend: BackendName
    calls: tuple[ModelReply, ...]
    used: Usage
    cut: bool = False
    """The client disconnects after the first piece."""


def total(*usages: Usage) -> Usage:
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )


usages = st.builds(Usage, st.integers(1000, 5000), st.integers(1, 500), st.integers(0, 1000))
backends = st.sampled_from(["mistral", "gpt-4"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    backend, first, second = draw(backends), draw(usages), draw(usages)
    match draw(st.sampled_from(["ok", "retried", "unparsed", "away", "broken", "cut"])):
        case "ok":
            return Plan(backend, (completion(BUY, usage=first),), first)
        case "retried":
            return Plan(
                backend,
                (completion(NONSENSE, usage=first), completion(BUY, usage=second)),
                total(first, second),
            )
        case "unparsed":
            calls = (completion(NONSENSE, usage=first), completion("", usage=second))
            return Plan(backend, calls, total(first, second))
        case "away":
            return Plan(backend, (BackendUnavailable("away"),), NO_USAGE)
        case "broken":
            return Plan(backend, (Broken(BUY, BackendError("broke off"), first),), first)
        case _:
            return Plan(backend, (completion(BUY, usage=first),), PARTIAL_USAGE, cut=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planned=st.lists(plans(), min_size=1, max_size=12))
def test_the_ledger_is_the_exact_sum_of_the_answers(store_url: str, planned: list[Plan]) -> None:
    asyncio.run(play(f"{store_url}?db=6", planned))


async def play(store: str, planned: list[Plan]) -> None:
    async with open_redis(SecretStr(store)) as redis:
        await redis.flushdb()
    async with gateway(store, wire=True, cache_s=60) as running:
        said: dict[BackendName, int] = {"mistral": 0, "gpt-4": 0}
        silent: dict[BackendName, int] = {"mistral": 0, "gpt-4": 0}
        for number, plan in enumerate(planned):
            cost = PRICES[plan.backend].cost(plan.used).nano_usd
            response = await perform(running, plan, another(number))
            if response is not None and response.status_code == 200:
                stated = Decimal(response.json()["cost"]["usd"]) * NANO
                assert stated == cost
                said[plan.backend] += int(stated)
                again = await ask(running, another(number), X_Backend=plan.backend)
                assert (again.json()["source"], again.json()["cost"]["usd"]) == ("cache", "0")
            else:
                silent[plan.backend] += cost
        for name in said:
            booked = await settled(running, name, said[name] + silent[name])
            assert booked.get("nano_usd", 0) == said[name] + silent[name]
            assert booked.get("requests", 0) == sum(p.backend == name and p.used != NO_USAGE for p in planned)
            assert booked.get("unconfirmed_requests", 0) == 0
            basis = "capacity" if name == "mistral" else "list_price"
            counted = running.sample("conviction_cost_usd_total", backend=name, basis=basis)
            assert counted == pytest.approx(booked.get("nano_usd", 0) / NANO)
            assert await reserved(running, name) == 0


async def perform(running: Gateway, plan: Plan, body: dict[str, object]) -> httpx.Response | None:
    backend = running.backends[plan.backend]
    backend.script = list(plan.calls)
    backend.go = asyncio.Event() if plan.cut else None
    pending = asyncio.create_task(ask(running, body, X_Backend=plan.backend))
    if not plan.cut:
        return await pending
    calls = len(backend.streams)
    await backend.began(calls + 1)
    pending.cancel()
    await asyncio.wait((pending,))
    await asyncio.wait_for(backend.streams[-1].left.wait(), SOON_S)
    return None


async def settled(running: Gateway, name: BackendName, nano_usd: int) -> dict[str, int]:
    """The ledger once it has this amount, or after 5 s."""
    ends = time.monotonic() + 5
    while (sums := await ledger(running, name)).get("nano_usd", 0) != nano_usd and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return sums


async def reserved(running: Gateway, name: BackendName) -> int:
    """Nano-dollars that are reserved."""
    redis = running.resources.redis
    return sum(
        [int(await redis.hget(key, "reserved") or 0) for key in await redis.keys(f"conviction:budget:backend:{name}:*")]
    )


def steps(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the scripts that run from now on."""
    asked: list[str] = []
    store = running.resources.reservations._admissions._store
    run = store.run

    async def noted(script: Script, *arguments: Argument) -> object:
        asked.append(script.name)
        return await run(script, *arguments)

    monkeypatch.setattr(store, "run", noted)
    return asked


async def test_a_call_takes_two_round_trips_and_a_queued_one_three(
    own_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(own_store, wire=True, mistral_max_concurrency=1) as running:
        asked = steps(running, monkeypatch)
        running.mistral.go = asyncio.Event()
        first = asyncio.create_task(ask(running))
        await running.mistral.began(1)
        assert asked == ["admit"]
        second = asyncio.create_task(ask(running, another(1)))
        async with asyncio.timeout(SOON_S):
            while running.sample("conviction_queue_depth", backend="mistral") < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.mistral.go.set()
        assert {response.status_code for response in await asyncio.gather(first, second)} == {200}
        assert sorted(step for step in asked if step != "sweep") == ["admit", "admit", "renew", "settle", "settle"]
        body = {"model": "mistral", "messages": [{"role": "user", "content": "Hello."}]}
        asked.clear()
        assert (await running.client.post("/v1/chat/completions", json=body)).status_code == 200
        assert [step for step in asked if step != "sweep"] == ["admit", "settle"]


async def test_a_dead_gateway_s_reservations_expire_without_requests(
    own_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "RENEW_S", 0.05)
    async with gateway(own_store) as dead:
        admissions, scope = dead.resources.reservations._admissions, dead.resources.upstreams["mistral"].scope
        for name, sent in (("sent", True), ("waiting", False)):
            await admissions.admit(name, (scope,), "mistral", Estimate(10, 1000), lease_s=0.3, sent=sent)
        assert await reserved(dead, "mistral") == 2000
    async with gateway(own_store) as running:
        async with asyncio.timeout(SOON_S):
            while await reserved(running, "mistral"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        sums = await ledger(running, "mistral")
        assert (sums["unconfirmed_requests"], sums["unconfirmed_nano_usd"]) == (1, 1000)
        assert running.asked == 0


# Store outages


@pytest.fixture
async def limited(valkey: Valkey) -> AsyncIterator[Gateway]:
    async with gateway(valkey.url, wire=True, cache_s=60, gpt4_usd_per_day="1") as running:
        yield running


@pytest.mark.parametrize("how", ["hang", "kill"])
async def test_an_unavailable_store_refuses_with_limits_and_serves_without(
    limited: Gateway, valkey: Valkey, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(limited, X_Backend="gpt-4")).status_code == 200
    getattr(valkey, how)()
    began = time.monotonic()
    response = await ask(limited, another(1), X_Backend="gpt-4")
    assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
    assert time.monotonic() - began < 5
    assert len(limited.backends["gpt-4"].asked) == 1
    answer = (await ask(limited, another(1))).json()
    assert (answer["source"], answer["backend"]) == ("model", "mistral")
    usd = limited.sample("conviction_cost_usd_total", backend="mistral")
    assert usd == pytest.approx(float(answer["cost"]["usd"]))
    assert "are in no ledger: the store was unavailable" in caplog.text
    assert limited.sample("conviction_store_errors_total", store="ledger") == 1
    assert (await ask(limited, another(1))).json()["source"] == "model"  # nor is there a cache
    assert (await limited.client.get("/metrics")).status_code == 200
    (valkey.go_on if how == "hang" else valkey.start)()
    await until_answered(limited, X_Backend="gpt-4")


async def until_answered(running: Gateway, **headers: str) -> None:
    async with asyncio.timeout(SOON_S):
        while (await ask(running, another(2), **headers)).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["hang", "kill"])
async def test_a_call_during_a_store_outage_is_booked_after_it(
    limited: Gateway, valkey: Valkey, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = limited.backends["gpt-4"]
    backend.go = asyncio.Event()
    pending = asyncio.create_task(ask(limited, X_Backend="gpt-4"))
    await backend.began(1)
    getattr(valkey, how)()
    backend.go.set()
    answer = (await pending).json()
    assert answer["source"] == "model"
    assert "a settlement waits for the store" in caplog.text
    (valkey.go_on if how == "hang" else valkey.start)()
    cost = int(Decimal(answer["cost"]["usd"]) * NANO)
    assert (await settled(limited, "gpt-4", cost))["nano_usd"] == cost
    assert await reserved(limited, "gpt-4") == 0


@pytest.mark.parametrize("limits", [{}, {"mistral_usd_per_day": "1"}], ids=["without limits", "with limits"])
async def test_the_store_fails_while_a_request_is_queued(valkey: Valkey, limits: dict[str, str]) -> None:
    async with gateway(valkey.url, wire=True, mistral_max_concurrency=1, **limits) as running:
        running.mistral.go = asyncio.Event()
        first = asyncio.create_task(ask(running))
        await running.mistral.began(1)
        second = asyncio.create_task(ask(running, another(1)))
        async with asyncio.timeout(SOON_S):
            while running.sample("conviction_queue_depth", backend="mistral") < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        valkey.kill()
        running.mistral.go.set()
        assert (await first).status_code == 200
        status = 503 if limits else 200
        assert ((await second).status_code, running.asked) == (status, 1 if limits else 2)
        valkey.start()
        cost = (running.asked) * PRICES["mistral"].cost(USAGE).nano_usd
        assert (await settled(running, "mistral", cost))["nano_usd"] == cost


async def test_a_call_without_usage_during_a_store_outage_is_not_charged(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "LEASE_S", 2.0)
    async with gateway(valkey.url, wire=True, gpt4_usd_per_day="1") as running:
        backend = running.backends["gpt-4"]
        backend.go = asyncio.Event()
        backend.script = [Broken(BUY, BackendUnavailable("away"))]
        pending = asyncio.create_task(ask(running, X_Backend="gpt-4"))
        await backend.began(1)
        valkey.hang()
        backend.go.set()
        assert (await pending).status_code == 503
        valkey.go_on()
        await asyncio.sleep(2.5)  # beyond its lease
        await until_answered(running, X_Backend="gpt-4")
        sums = await ledger(running, "gpt-4")
        assert (sums["requests"], sums.get("unconfirmed_requests", 0)) == (1, 0)
        assert await reserved(running, "gpt-4") == 0
