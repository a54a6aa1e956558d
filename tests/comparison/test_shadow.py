"""Copies of answers to the other backend: which, at whose cost, and when not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from app.comparison.pairs import Pair
from app.comparison.shadow import MAX_COPIES, _sampled
from app.contract.completion import BackendName
from app.contract.recommendation import ACTIONS
from app.errors import BackendError
from tests.doubles import EXAMPLE_BODY, PRICES, USAGE, Gateway, ask, completion, gateway, ledger
from tests.waiting import until

BUY = '{"action":"buy","conviction":7}'
SELL = '{"action":"sell","conviction":4}'
FULL = EXAMPLE_BODY | {"detail": "full"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests is not the gateway that is busy."""
    monkeypatch.setattr("app.comparison.shadow.MAX_LAG_S", 60.0)


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, shadow_fraction=1) as running:
        yield running


def copies(running: Gateway, result: str = "stored") -> float:
    return running.sample("conviction_shadow_copies_total", result=result)


async def counted(running: Gateway, number: int, result: str = "stored") -> None:
    """Return once so many copies have ended like that."""
    await until(lambda: copies(running, result) >= number)


async def settled(running: Gateway) -> None:
    """Return once no copy waits or is under way."""
    shadow = running.resources.shadow
    await until(lambda: not (shadow._waiting or shadow._running))


async def pairs(running: Gateway) -> Sequence[Pair]:
    return (await running.resources.comparisons.page(None, 100))[0]


@pytest.mark.parametrize(("backend", "other"), [("mistral", "gpt-4"), ("gpt-4", "mistral")])
async def test_the_other_backend_gets_the_same_question_and_the_pair_is_stored(
    running: Gateway, backend: BackendName, other: BackendName
) -> None:
    running.backends[backend].script = [completion(BUY)]
    running.backends[other].script = [completion(SELL)]
    answer = (await ask(running, {"ticker": "AAPL", "detail": "brief"}, X_Backend=backend)).json()
    await counted(running, 1)
    assert running.backends[backend].asked == running.backends[other].asked
    (pair,) = await pairs(running)
    assert (f"rec_{pair.id}", pair.ticker, str(pair.as_of)) == (answer["id"], "AAPL", answer["as_of"])
    assert (pair.origin, pair.detail) == ("shadow", "brief")
    assert (pair.sides[backend].action, pair.sides[other].action) == ("buy", "sell")
    assert pair.sides[other].nano_usd == PRICES[other].cost(USAGE).nano_usd
    actions = {"mistral": "buy", "gpt-4": "sell"} if backend == "mistral" else {"mistral": "sell", "gpt-4": "buy"}
    labels = {"mistral_action": actions["mistral"], "gpt4_action": actions["gpt-4"]}
    assert running.sample("conviction_ab_pairs_total", **labels) == 1


async def test_a_copy_is_charged_to_the_shadow_budget_and_not_counted_as_an_answer(running: Gateway) -> None:
    await ask(running)
    await counted(running, 1)
    assert (await ledger(running, "gpt-4"))["nano_usd"] == PRICES["gpt-4"].cost(USAGE).nano_usd
    keys = await running.resources.redis.keys("conviction:*key:shadow*")
    assert keys
    assert running.sample("conviction_requests_total", backend="gpt-4", detail="brief", outcome="ok") == 0
    said = [running.sample("conviction_recommendations_total", backend="gpt-4", action=action) for action in ACTIONS]
    assert said == [0, 0, 0]
    assert running.sample("conviction_request_duration_seconds_count", backend="gpt-4") == 0


async def test_streams_and_batches_are_copied_too(running: Gateway) -> None:
    await ask(running, FULL | {"stream": True})
    items = [EXAMPLE_BODY | {"ticker": ticker} for ticker in ("AAA", "BBB")]
    await running.client.post("/v1/recommendations/batch", json={"items": items})
    await counted(running, 3)
    assert {(pair.ticker, pair.detail) for pair in await pairs(running)} == {
        ("SNPS", "full"), ("AAA", "brief"), ("BBB", "brief")
    }  # fmt: skip


async def test_an_answer_does_not_wait_for_its_copy_which_shutdown_cancels(own_store: str) -> None:
    async with gateway(own_store, wire=True, shadow_fraction=1) as running:
        slow = running.backends["gpt-4"]
        slow.go = asyncio.Event()
        assert (await ask(running)).json()["backend"] == "mistral"
        await slow.began(1)
        assert not slow.streams[0].left.is_set()
    assert slow.streams[0].left.is_set()
    assert copies(running) == 0


async def test_shutdown_cancels_a_waiting_copy(own_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.comparison.shadow.DELAY_S", 60.0)
    async with gateway(own_store, wire=True, shadow_fraction=1) as running:
        await ask(running)
        assert running.resources.shadow._waiting
    assert running.asked == 1


async def test_a_failed_copy_is_stored_as_a_failure(running: Gateway) -> None:
    running.backends["gpt-4"].script = [BackendError("gpt-4 failed (HTTP 500)")]
    await ask(running)
    await counted(running, 1)
    (pair,) = await pairs(running)
    assert (pair.sides["gpt-4"].failure, pair.sides["mistral"].failure) == ("backend_error", None)


@pytest.mark.parametrize("budget", ["0", "0.0000001"])
async def test_an_exhausted_budget_stops_copies_and_no_answers(own_store: str, budget: str) -> None:
    async with gateway(own_store, wire=True, shadow_fraction=1, shadow_usd_per_day=budget) as running:
        assert (await ask(running)).status_code == 200
        await counted(running, 1, "refused")
        assert (await pairs(running), running.backends["gpt-4"].asked) == ([], [])


@pytest.mark.parametrize("busy", ["mistral", "gpt-4"])
async def test_a_half_full_backend_gets_no_copies(own_store: str, busy: BackendName) -> None:
    limit = {f"{busy.replace('-', '')}_max_concurrency": 2}
    async with gateway(own_store, wire=True, shadow_fraction=1, **limit) as running:  # type: ignore[arg-type]
        async with running.resources.upstreams[busy].concurrency.acquire():
            await ask(running)
            await counted(running, 1, "shed")
            assert running.asked == 1
        await ask(running)
        await counted(running, 1)


async def test_a_late_copy_is_shed(own_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.comparison.shadow.MAX_LAG_S", -1.0)
    async with gateway(own_store, wire=True, shadow_fraction=1) as running:
        await ask(running)
        await counted(running, 1, "shed")
        assert running.asked == 1


async def test_the_number_of_concurrent_copies_is_bounded(running: Gateway) -> None:
    running.backends["gpt-4"].go = asyncio.Event()
    for number in range(MAX_COPIES + 3):
        await ask(running, EXAMPLE_BODY | {"ticker": f"T{number}"})
    assert copies(running, "shed") == 3
    running.backends["gpt-4"].go.set()
    await counted(running, MAX_COPIES)


async def test_answers_that_are_not_copied(own_store: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("admin:an-admin-key-0123456789\n")
    keys.chmod(0o600)
    async with gateway(own_store, wire=True, shadow_fraction=1, cache_s=60, api_keys_file=keys) as running:
        admin = {"X_API_Key": "an-admin-key-0123456789"}
        made = await running.client.post(
            "/v1/keys", json={"name": "desk", "backends": ["mistral"]}, headers={"X-API-Key": admin["X_API_Key"]}
        )
        await ask(running, X_API_Key=made.json()["key"])  # it may not ask the other
        await ask(running, **admin)  # from the cache
        await ask(running, **admin, Cache_Control="no-store")
        await ask(running, **admin, X_Backend="cascade", Cache_Control="no-cache")
        running.mistral.script = [BackendError("mistral failed (HTTP 500)")]
        await ask(running, **admin, X_Fallback="gpt-4", Cache_Control="no-cache")
        await settled(running)
        assert await pairs(running) == []
        assert running.backends["gpt-4"].asked[1:] == []


def test_a_fraction_is_of_random_ids() -> None:
    ids = [f"rec_{'0' * 24}{number * 2**32 // 1000:08x}" for number in range(1000)]  # evenly
    for fraction in (0.0, 0.1, 0.5, 1.0):
        assert sum(_sampled(each, fraction) for each in ids) == pytest.approx(fraction * 1000, abs=1)
