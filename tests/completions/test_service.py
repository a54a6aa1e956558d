"""Completions: identical requests share a call, in one gateway or in two on one store, and answers are cached."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounting.reservations import Reservation
from app.auth.principal import local_principal
from app.backends.dialects import VLLM, Dialect, openai_dialect
from app.backends.upstream import Upstream, open_upstream
from app.completions import service as completions
from app.completions.request import CompletionRequest, RequestOptions
from app.completions.retry import Attempts
from app.completions.single_flight import InFlightCall
from app.contract.completion import BackendName, Usage
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, Message, messages
from app.deadline import Deadline
from app.errors import BackendError
from app.pricing.limits import Estimate, Limits
from app.pricing.prices import NANO
from app.settings.gateway import Settings
from app.telemetry.metrics import Collectors
from tests.doubles import (
    EXAMPLE_BODY,
    PARTIAL_USAGE,
    PRICES,
    USAGE,
    Broken,
    CountingBackend,
    Gateway,
    ask,
    completion,
    gateway,
    ledger,
)
from tests.waiting import until

BUY, SELL = '{"action":"buy","conviction":7}', '{"action":"sell","conviction":3}'
COST = PRICES["mistral"].cost(USAGE).nano_usd
SOON_S = 20.0


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, cache_s=60) as running:
        yield running


@pytest.fixture
async def other(own_store: str) -> AsyncIterator[Gateway]:
    """Another gateway on the same store."""
    async with gateway(own_store, wire=True, cache_s=60) as other:
        yield other


Request = asyncio.Task[httpx.Response]


def pending(running: Gateway, body: object = None, **headers: str) -> Request:
    return asyncio.create_task(ask(running, body, **headers))


async def held(running: Gateway) -> tuple[Request, asyncio.Event]:
    """Start a request; its call continues when the event is set."""
    running.mistral.go = asyncio.Event()
    first = pending(running)
    await running.mistral.began(1)
    return first, running.mistral.go


async def joined(running: Gateway, many: int) -> None:
    """Wait until `many` requests have joined a call."""
    await until(lambda: running.sample("conviction_cache_requests_total", result="coalesced") == many)


async def followed(running: Gateway) -> None:
    """Wait until a request follows another gateway's call."""
    await until(lambda: bool(running.resources.completions._shared_calls._waiters))


async def disconnect(request: Request) -> None:
    request.cancel()
    await asyncio.wait((request,))


async def cancelled(running: Gateway, call: int = 0) -> float:
    """Return the seconds until a call is cancelled."""
    began = time.perf_counter()
    await asyncio.wait_for(running.mistral.streams[call].left.wait(), SOON_S)
    return time.perf_counter() - began


async def booked(running: Gateway, requests: int) -> dict[str, int]:
    """Return the ledger once it has this many requests."""
    async with asyncio.timeout(SOON_S):
        while (sums := await ledger(running, "mistral")).get("requests", 0) < requests:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return sums


def assert_free(answer: dict[str, Any], source: str) -> None:
    """The answer cost nothing and has this source."""
    assert answer["source"] == source
    assert (answer["cost"]["usd"], answer["cost"]["usd_per_1k_tokens"]) == ("0", "0")
    assert answer["usage"] == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
    }
    timing = answer["timing"]
    assert (timing["ttft_ms"], timing["ms_per_token"], timing["tokens_per_second"]) == (None, None, None)
    assert (timing["queued_ms"], timing["attempts"]) == (None, 0)


# One call for all


async def test_identical_requests_share_one_call_paid_by_the_first(running: Gateway) -> None:
    first, go = await held(running)
    others = [pending(running) for _ in range(5)]
    await joined(running, 5)
    go.set()
    paid, *free = [response.json() for response in await asyncio.gather(first, *others)]
    assert running.asked == 1
    assert (paid["source"], float(paid["cost"]["usd"])) == ("model", COST / NANO)
    for answer in free:
        assert_free(answer, "coalesced")
        assert (answer["action"], answer["conviction"]) == (paid["action"], paid["conviction"])
        assert (answer["model"], answer["probabilities"]) == (paid["model"], paid["probabilities"])
    assert len({answer["id"] for answer in (paid, *free)}) == 6
    sums = await ledger(running, "mistral")
    assert (sums["requests"], sums["nano_usd"]) == (1, COST)
    assert running.sample("conviction_cache_requests_total", result="miss") == 1
    assert running.sample("conviction_tokens_total", backend="mistral", type="output") == 11
    assert running.sample("conviction_time_per_output_token_seconds_count", backend="mistral") == 1


async def test_identical_requests_to_two_gateways_share_one_call(running: Gateway, other: Gateway) -> None:
    first, go = await held(running)
    others = [pending(other) for _ in range(3)]
    await followed(other)
    go.set()
    paid, *free = [response.json() for response in await asyncio.gather(first, *others)]
    assert (running.asked, other.asked) == (1, 0)
    assert float(paid["cost"]["usd"]) == COST / NANO
    for answer in free:
        assert_free(answer, "coalesced" if answer["source"] == "coalesced" else "cache")  # the last may have come late
        assert answer["action"] == paid["action"]
    assert (await ledger(running, "mistral"))["nano_usd"] == COST
    assert other.sample("conviction_cost_usd_total", backend="mistral", basis="capacity") == 0


async def test_different_requests_share_nothing(running: Gateway) -> None:
    first, go = await held(running)
    second = pending(running, EXAMPLE_BODY | {"ticker": "AAPL"})
    await running.mistral.began(2)
    go.set()
    assert {response.json()["source"] for response in await asyncio.gather(first, second)} == {"model"}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_each_waiter_keeps_its_deadline(running: Gateway, other: Gateway, elsewhere: bool) -> None:
    first, go = await held(running)
    hasty = await ask(other if elsewhere else running, X_Timeout_Ms="150")
    assert (hasty.status_code, hasty.json()["code"]) == (504, "deadline_exceeded")
    assert "0.15 s" in hasty.json()["detail"]
    patient = pending(other if elsewhere else running)
    await (followed(other) if elsewhere else joined(running, 2))
    go.set()
    assert [response.status_code for response in await asyncio.gather(first, patient)] == [200, 200]
    assert (running.asked, other.asked) == (1, 0)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_the_first_client_disconnects_and_the_others_get_the_answer(
    running: Gateway, other: Gateway, elsewhere: bool
) -> None:
    first, go = await held(running)
    stays = pending(other if elsewhere else running)
    await (followed(other) if elsewhere else joined(running, 1))
    await disconnect(first)
    await asyncio.sleep(0.3)
    assert not running.mistral.streams[0].left.is_set()
    go.set()
    assert_free((await stays).json(), "coalesced")
    assert (running.asked, other.asked) == (1, 0)
    sums = await booked(running, 1)
    assert sums["nano_usd"] == COST
    assert sums.get("estimated_requests", 0) == 0


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_the_first_client_s_deadline_does_not_cancel_a_shared_call(
    running: Gateway, other: Gateway, elsewhere: bool
) -> None:
    running.mistral.go = asyncio.Event()
    first = pending(running, X_Timeout_Ms="400")
    await running.mistral.began(1)
    stays = pending(other if elsewhere else running)
    await (followed(other) if elsewhere else joined(running, 1))
    assert (await first).status_code == 504
    running.mistral.go.set()
    assert_free((await stays).json(), "coalesced")


async def test_the_last_disconnect_cancels_the_call_and_its_usage_is_booked(running: Gateway) -> None:
    first, _ = await held(running)
    second = pending(running)
    await joined(running, 1)
    await disconnect(first)
    await disconnect(second)
    assert await cancelled(running) < 2  # a tenth of a second, where the machine is not busy
    sums = await booked(running, 1)
    assert sums["nano_usd"] == PRICES["mistral"].cost(PARTIAL_USAGE).nano_usd
    assert (sums["output_tokens"], sums["estimated_requests"]) == (PARTIAL_USAGE.completion_tokens, 1)
    running.mistral.go = None
    again = (await ask(running)).json()
    assert (again["source"], running.asked) == ("model", 2)


async def test_the_last_waiter_may_be_at_another_gateway(running: Gateway, other: Gateway) -> None:
    first, _ = await held(running)
    second = pending(other)
    await followed(other)
    await disconnect(first)
    await disconnect(second)
    assert await cancelled(running) < 2
    assert (await booked(running, 1))["nano_usd"] == PRICES["mistral"].cost(PARTIAL_USAGE).nano_usd


async def test_the_last_deadline_cancels_the_call(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    assert (await ask(running, X_Timeout_Ms="200")).status_code == 504
    assert await cancelled(running) < 2
    assert (await booked(running, 1))["nano_usd"] == PRICES["mistral"].cost(PARTIAL_USAGE).nano_usd


async def test_a_call_has_the_backend_timeout(own_store: str) -> None:
    async with gateway(own_store, backend_timeout_s=0.3) as running:
        assert (await ask(running)).status_code == 200
        assert running.mistral.deadlines[0].seconds == 0.3


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_all_waiters_get_a_failure_and_it_is_booked_once(
    running: Gateway, other: Gateway, elsewhere: bool
) -> None:
    running.mistral.script = [Broken(BUY, BackendError("mistral broke off", retry_after=2.5), Usage(400, 7))]
    first, go = await held(running)
    second = pending(other if elsewhere else running)
    await (followed(other) if elsewhere else joined(running, 1))
    go.set()
    for response in await asyncio.gather(first, second):
        assert (response.status_code, response.json()["code"]) == (502, "backend_error")
        assert response.headers["Retry-After"] == "3"
    assert (running.asked, other.asked) == (1, 0)
    sums = await ledger(running, "mistral")
    assert (sums["requests"], sums["output_tokens"]) == (1, 7)


async def test_a_dead_gateway_s_call_is_made_again(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_to(running.resources.upstreams["mistral"])
    admissions = running.resources.reservations._admissions
    await admissions.admit(
        "dead", (request.upstream.scope,), "mistral", Estimate(10, 1000), lease_s=1, call_key=request.key, sent=True
    )
    answer = (await ask(running)).json()
    assert (answer["source"], running.asked) == ("model", 1)
    sums = await ledger(running, "mistral")
    assert (sums["unconfirmed_requests"], sums["unconfirmed_nano_usd"], sums["nano_usd"]) == (1, 1000, COST)


async def test_a_follower_that_calls_again_counts_once_against_request_limits(own_store: str) -> None:
    async with gateway(own_store, mistral_requests_per_minute=2) as running:
        request = request_to(running.resources.upstreams["mistral"])
        await running.resources.reservations._admissions.admit(
            "dead", (), "mistral", Estimate(1, 1), lease_s=0.5, call_key=request.key, sent=True
        )
        response = await ask(running)
        assert response.status_code == 200
        assert '"backend-requests";r=1' in response.headers["ratelimit"]


# Who may share


async def test_a_key_without_a_backend_gets_none_of_its_answers(own_store: str, tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text("admin:0123456789abcdef")
    keys.chmod(0o600)
    async with gateway(own_store, wire=True, api_keys_file=keys, cache_s=60) as running:
        admin = {"X_API_Key": "0123456789abcdef"}
        order = {"name": "only gpt-4", "backends": ["gpt-4"]}
        issued = await running.client.post("/v1/keys", json=order, headers={"X-API-Key": admin["X_API_Key"]})
        running.mistral.go = asyncio.Event()
        first = pending(running, **admin)
        await running.mistral.began(1)
        limited = {"X_API_Key": issued.json()["key"]}
        assert (await ask(running, **limited)).status_code == 403
        running.mistral.go.set()
        assert (await first).status_code == 200
        assert (await ask(running, **limited)).status_code == 403  # nor from the cache
        assert (await ask(running, **admin)).json()["source"] == "cache"


async def test_followers_count_against_request_limits_only(own_store: str) -> None:
    settings = {"mistral_requests_per_minute": 3, "mistral_usd_per_day": "0.005", "cache_s": 60}
    async with gateway(own_store, wire=True, **settings) as running:
        first, go = await held(running)
        others = [pending(running) for _ in range(2)]
        await joined(running, 2)
        refused = await ask(running)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        go.set()
        assert {response.status_code for response in await asyncio.gather(first, *others)} == {200}
        assert running.asked == 1


# The cache


async def test_a_cached_answer_has_an_age_and_costs_nothing(running: Gateway) -> None:
    paid = (await ask(running)).json()
    speed = [
        running.sample(f"conviction_{name}_count", backend="mistral")
        for name in (
            "request_duration_seconds",
            "gateway_overhead_seconds",
            "time_to_first_token_seconds",
            "time_per_output_token_seconds",
        )
    ]
    assert speed == [1] * 4
    await asyncio.sleep(1.1)
    response = await ask(running)
    again = response.json()
    assert_free(again, "cache")
    assert 1 <= int(response.headers["age"]) < 20
    assert (again["action"], again["probabilities"]) == (paid["action"], paid["probabilities"])
    assert again["id"] != paid["id"]
    assert running.asked == 1
    assert (await ledger(running, "mistral"))["requests"] == 1
    assert speed == [
        running.sample(f"conviction_{name}_count", backend="mistral")
        for name in (
            "request_duration_seconds",
            "gateway_overhead_seconds",
            "time_to_first_token_seconds",
            "time_per_output_token_seconds",
        )
    ]
    assert running.sample("conviction_tokens_total", backend="mistral", type="output") == 11
    assert running.sample("conviction_cache_requests_total", result="hit") == 1
    assert running.sample("conviction_recommendations_total", backend="mistral", action=again["action"]) == 2


async def test_gateways_share_the_cache(running: Gateway, other: Gateway) -> None:
    assert "age" not in (await ask(running)).headers
    assert_free((await ask(other)).json(), "cache")
    assert other.asked == 0


@pytest.mark.parametrize("directive", ["no-cache", "NO-CACHE, max-age=5", "max-age=0"])
async def test_no_cache_makes_a_call_and_replaces_the_cached_answer(running: Gateway, directive: str) -> None:
    running.mistral.script = [completion(BUY), completion(SELL)]
    await ask(running)
    renewed = (await ask(running, Cache_Control=directive)).json()
    assert (renewed["source"], renewed["action"]) == ("model", "sell")
    again = (await ask(running)).json()
    assert (again["source"], again["action"]) == ("cache", "sell")


async def test_no_store_neither_reads_nor_writes_the_cache(running: Gateway) -> None:
    running.mistral.script = [completion(BUY), completion(SELL), completion(BUY)]
    assert (await ask(running, Cache_Control="no-store")).json()["action"] == "buy"
    assert (await ask(running)).json()["action"] == "sell"
    assert (await ask(running, Cache_Control="no-store")).json()["action"] == "buy"
    kept = (await ask(running)).json()
    assert (kept["source"], kept["action"], running.asked) == ("cache", "sell", 3)


async def test_no_store_shares_no_call(running: Gateway) -> None:
    first, go = await held(running)
    alone = pending(running, Cache_Control="no-store")
    await running.mistral.began(2)
    follower = pending(running)
    await joined(running, 1)
    await disconnect(first)
    await disconnect(follower)
    assert await cancelled(running, 0) < 2
    assert not running.mistral.streams[1].left.is_set()
    go.set()
    assert (await alone).json()["source"] == "model"


async def test_cached_answers_expire(own_store: str) -> None:
    async with gateway(own_store, cache_s=0.2) as running:
        await ask(running)
        await asyncio.sleep(0.3)
        assert (await ask(running)).json()["source"] == "model"


async def test_a_gateway_without_a_cache_ignores_another_s(running: Gateway, own_store: str) -> None:
    await ask(running)
    async with gateway(own_store, cache_s=0) as without:
        assert (await ask(without)).json()["source"] == "model"
        assert (await ask(without)).json()["source"] == "model"


@pytest.mark.parametrize("failed", [Broken("", BackendError("failed")), Broken(BUY, BackendError("failed"), USAGE)])
async def test_failures_are_not_cached(running: Gateway, failed: Broken) -> None:
    running.mistral.script = [failed]
    assert (await ask(running)).status_code == 502
    assert (await ask(running)).json()["source"] == "model"


# What the same answer does for


class Speaking(CountingBackend):
    """Builds the body of a dialect."""

    def __init__(self, name: BackendName, model: str, dialect: Dialect) -> None:
        super().__init__(name, model=model)
        self._dialect = dialect

    def body(self, messages: Sequence[Message], detail: Detail) -> dict[str, Any]:
        return self._dialect.request(self.model, messages, detail)


def upstream_of(name: BackendName, model: str, dialect: Dialect | None = None) -> Upstream:
    backend = Speaking(name, model, dialect or (VLLM if name == "mistral" else openai_dialect(model)))
    return open_upstream(backend, PRICES[name], Settings(), Collectors())


def request_to(
    upstream: Upstream, metrics: Metrics = EXAMPLE, ticker: str = "SNPS", detail: Any = "brief"
) -> CompletionRequest:
    options = RequestOptions(local_principal(Limits()), Deadline.after(5))
    return CompletionRequest(upstream, messages(metrics, ticker, detail), detail, options)


def test_different_requests_have_different_keys() -> None:
    upstreams = [
        upstream_of("mistral", "small"),
        upstream_of("mistral", "large"),
        upstream_of("gpt-4", "small"),
        upstream_of("gpt-4", "gpt-4.1"),  # takes a seed
        upstream_of("gpt-4", "gpt-6-astra"),  # reasons, with another token limit
    ]
    dearer = Metrics.model_validate(EXAMPLE.document() | {"price": 600.0})
    questions = [
        request_to(upstream, metrics, ticker, detail).key
        for upstream in upstreams
        for metrics in (EXAMPLE, dearer)
        for ticker in ("SNPS", "AAPL")
        for detail in ("brief", "full")
    ]
    assert None not in questions
    assert len(set(questions)) == len(questions)
    assert request_to(upstreams[0]).key == request_to(upstream_of("mistral", "small")).key


def test_sampling_parameters_are_part_of_the_key() -> None:
    dialects = [replace(openai_dialect("gpt-4.1"), **changed) for changed in ({}, {"seed": 1}, {"sampled": False})]
    assert len({request_to(upstream_of("gpt-4", "gpt-4.1", dialect)).key for dialect in dialects}) == 3


def test_an_unknown_model_has_no_key() -> None:
    assert request_to(upstream_of("mistral", "")).key is None


async def test_the_first_requests_share_a_call_though_the_model_is_unknown_before(running: Gateway) -> None:
    running.mistral.model, running.mistral.says = "", "double-1"
    first, go = await held(running)
    second = pending(running)
    await joined(running, 1)
    go.set()
    assert [response.json()["source"] for response in await asyncio.gather(first, second)] == ["model", "coalesced"]
    assert (await ask(running)).json()["source"] == "cache"


async def test_a_backend_without_a_known_model_is_called(running: Gateway) -> None:
    running.mistral.model = ""
    assert [(await ask(running)).json()["source"] for _ in range(2)] == ["model", "model"]


async def test_the_answer_of_a_replaced_model_is_not_cached(running: Gateway) -> None:
    first, go = await held(running)
    running.mistral.streams[0].requested_model = "double-2"
    go.set()
    assert (await first).json()["source"] == "model"
    assert (await ask(running)).json()["source"] == "model"
    assert (await ask(running)).json()["source"] == "cache"


@pytest.mark.parametrize(
    "value", [b"", b"x", b"0000000000000000{}", b'0000000000000000{"text":"{}"}', b"0000000000000000[]"]
)
async def test_a_cached_answer_that_cannot_be_read_is_made_again(running: Gateway, value: bytes) -> None:
    assert (await ask(running)).json()["source"] == "model"
    redis = running.resources.redis
    [key] = await redis.keys("conviction:answer:*")
    await redis.set(key, value, ex=60)
    assert [(await ask(running)).json()["source"] for _ in range(2)] == ["model", "cache"]
    sums = await ledger(running, "mistral")
    assert (sums["requests"], sums["nano_usd"]) == (2, 2 * COST)


async def test_a_cached_answer_without_a_field_is_made_again(running: Gateway) -> None:
    await ask(running)
    redis = running.resources.redis
    [key] = await redis.keys("conviction:answer:*")
    stored = await redis.get(key)
    without = {name: member for name, member in json.loads(stored[16:]).items() if name != "stand_in"}
    await redis.set(key, stored[:16] + json.dumps(without), ex=60)
    assert (await ask(running)).json()["source"] == "model"


async def test_gateways_with_other_forms_of_results_share_none(
    running: Gateway, other: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(running)
    monkeypatch.setattr("app.completions.request.VERSION", "2")
    assert (await ask(other)).json()["source"] == "model"


async def test_a_followed_result_that_cannot_be_read_is_made_again(
    running: Gateway, other: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, go = await held(running)
    second = pending(other)
    await followed(other)
    monkeypatch.setattr(completions.COMPLETION, "dump_json", lambda _: b"{}")
    go.set()
    assert [(await request).json()["source"] for request in (first, second)] == ["model", "model"]


def test_no_store_has_no_key() -> None:
    request = request_to(upstream_of("mistral", "small"))
    assert replace(request, options=replace(request.options, alone=True)).key is None


@given(
    st.builds(
        completion,
        st.just(BUY),
        usage=st.builds(Usage, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 9), st.integers(0, 9)),
        probabilities=st.none() | st.just({"buy": 0.7, "sell": 0.1, "hold": 0.2}),
        time_to_first_token=st.none() | st.floats(0, 60),
        duration=st.floats(0, 600),
        stand_in=st.booleans(),
    )
)
def test_a_completion_survives_serialization(made: Any) -> None:
    assert completions.COMPLETION.validate_json(completions.COMPLETION.dump_json(made)) == made


# Too much


async def test_a_full_queue_refuses_immediately_with_retry_after(own_store: str) -> None:
    async with gateway(own_store, wire=True, mistral_max_concurrency=1, mistral_queue_size=1) as running:
        first, go = await held(running)
        second = pending(running, EXAMPLE_BODY | {"ticker": "AAPL"})
        await until(lambda: running.sample("conviction_queue_depth", backend="mistral") == 1)
        began = time.perf_counter()
        refused = await ask(running, EXAMPLE_BODY | {"ticker": "MSFT"})
        assert time.perf_counter() - began < 2
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) == refused.json()["retry_after"] >= 1
        go.set()
        assert [response.status_code for response in await asyncio.gather(first, second)] == [200, 200]
        assert running.asked == 2


async def test_the_time_in_the_queue_is_stated_and_is_not_the_gateway_s(own_store: str) -> None:
    async with gateway(own_store, wire=True, mistral_max_concurrency=1, mistral_queue_size=1) as running:
        first, go = await held(running)
        second = pending(running, EXAMPLE_BODY | {"ticker": "AAPL"})
        await until(lambda: running.sample("conviction_queue_depth", backend="mistral") == 1)
        await asyncio.sleep(0.5)
        go.set()
        timing = [response.json()["timing"] for response in await asyncio.gather(first, second)]
    assert timing[1]["queued_ms"] >= 500
    assert timing[1]["gateway_ms"] <= timing[1]["total_ms"] - 500
    assert timing[0]["queued_ms"] < 500
    assert [each["attempts"] for each in timing] == [1, 1]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_a_full_queue_serves_cached_answers_and_shared_calls(own_store: str, elsewhere: bool) -> None:
    limits = {"cache_s": 60, "mistral_max_concurrency": 1, "mistral_queue_size": 0, "mistral_usd_per_day": "1"}
    async with gateway(own_store, wire=True, **limits) as running, gateway(own_store, wire=True, **limits) as other:
        assert (await ask(running, EXAMPLE_BODY | {"ticker": "AAPL"})).json()["source"] == "model"
        running.mistral.go = other.mistral.go = go = asyncio.Event()
        first, elsewhere_first = pending(running), pending(other, EXAMPLE_BODY | {"ticker": "TSLA"})
        await running.mistral.began(2)
        await other.mistral.began(1)
        asked = other if elsewhere else running
        assert (await ask(asked, EXAMPLE_BODY | {"ticker": "AAPL"})).json()["source"] == "cache"
        second = pending(asked)
        await (followed(other) if elsewhere else joined(running, 1))
        for headers in ({}, {"Cache_Control": "no-store"}):
            refused = await ask(asked, EXAMPLE_BODY | {"ticker": "MSFT"}, **headers)
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        go.set()
        assert (await first).json()["source"] == (await elsewhere_first).json()["source"] == "model"
        assert_free((await second).json(), "coalesced")
        redis = running.resources.redis
        [budget] = await redis.keys("conviction:budget:backend:mistral:*")
        assert await redis.hmget(budget, "used", "reserved") == [str(3 * COST), "0"]
        assert len(await redis.keys("conviction:reservation:*")) == 3  # those refused left nothing


async def test_a_refusal_by_a_full_queue_counts_against_no_limit(own_store: str) -> None:
    limits = {"mistral_max_concurrency": 1, "mistral_queue_size": 0, "mistral_requests_per_minute": 2}
    async with gateway(own_store, wire=True, **limits) as running:
        first, go = await held(running)
        for _ in range(3):
            assert (await ask(running, EXAMPLE_BODY | {"ticker": "MSFT"})).json()["code"] == "overloaded"
        joining = pending(running)
        await joined(running, 1)
        assert (await ask(running)).json()["code"] == "rate_limited"
        go.set()
        assert [response.status_code for response in await asyncio.gather(first, joining)] == [200, 200]


async def test_a_client_that_leaves_the_queue_pays_nothing(own_store: str) -> None:
    async with gateway(own_store, wire=True, mistral_max_concurrency=1) as running:
        first, go = await held(running)
        second = pending(running, EXAMPLE_BODY | {"ticker": "AAPL"})
        await until(lambda: running.sample("conviction_queue_depth", backend="mistral") == 1)
        await disconnect(second)
        await until(lambda: running.sample("conviction_queue_depth", backend="mistral") == 0)
        go.set()
        await first
        assert (await ledger(running, "mistral"))["requests"] == running.asked == 1


async def test_ended_requests_leave_no_objects(running: Gateway, other: Gateway) -> None:
    async def round_of_requests(number: int) -> None:
        await ask(running, Cache_Control="no-cache")
        failure = BackendError("failed")
        running.mistral.script = [Broken(BUY, failure, USAGE)]
        await ask(running, Cache_Control="no-store")
        failure.__traceback__ = None  # the double keeps it
        running.mistral.go = asyncio.Event()
        calls = len(running.mistral.streams)
        body = EXAMPLE_BODY | {"ticker": f"T{number}"}
        first = pending(running, body)
        await running.mistral.began(calls + 1)
        second, third = pending(running, body), pending(other, body)
        await followed(other)
        for request in (first, second, third):
            await disconnect(request)
        await cancelled(running, calls)
        running.mistral.go = None

    def kept() -> int:
        gc.collect()
        kinds = (InFlightCall, CompletionRequest, Attempts, Reservation, asyncio.Task)
        return sum(isinstance(each, kinds) for each in gc.get_objects())

    await round_of_requests(0)
    await asyncio.sleep(0.3)
    before = kept()
    for number in range(1, 11):
        await round_of_requests(number)
    async with asyncio.timeout(SOON_S):
        while kept() > before:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for each in (running, other):
        resources = each.resources
        assert resources.completions._in_flight._calls == {}
        assert resources.reservations._open == set()
        assert resources.completions._shared_calls._waiters == {}
