"""The flow of one request, with doubles behind the backends and a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.contract.analysis import read_analysis
from app.contract.completion import BackendName, Usage
from app.contract.manifest import current, parse
from app.contract.recommendation import FullAnswer, canonical
from app.errors import (
    BackendError,
    BackendUnavailable,
    InsufficientHistory,
    MarketDataRateLimited,
    MarketDataUnavailable,
)
from tests.doubles import (
    EXAMPLE_BODY,
    PRICES,
    USAGE,
    BrokenProvider,
    Gateway,
    ask,
    calibrated_store,
    completion,
    gateway,
    ledger,
)

BUY = '{"action":"buy","conviction":7}'
FULL = '{"analysis":"Calls outweigh puts.","action":"buy","conviction":7}'
NONSENSE = "I would rather hold."


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store) as running:
        yield running


async def booked(running: Gateway, backend: BackendName, before: dict[str, int]) -> dict[str, int]:
    """Return the amounts added to the ledger since."""
    return {name: value - before.get(name, 0) for name, value in (await ledger(running, backend)).items()}


async def test_answer_ledger_and_metrics_state_the_same_cost(running: Gateway) -> None:
    for name in ("mistral", "gpt-4"):
        before = await ledger(running, name)
        answer = (await ask(running, X_Backend=name)).json()
        cost = PRICES[name].cost(USAGE)
        assert float(answer["cost"]["usd"]) == cost.nano_usd / 1e9
        assert await booked(running, name, before) == {
            "requests": 1,
            "input_tokens": 300,
            "cached_input_tokens": 100,
            "output_tokens": 11,
            "nano_usd": cost.nano_usd,
        }
        labels = {"backend": name, "basis": answer["cost"]["basis"]}
        assert running.sample("conviction_cost_usd_total", **labels) == pytest.approx(cost.nano_usd / 1e9)


async def test_times_are_the_call_s(running: Gateway) -> None:
    timing = (await ask(running)).json()["timing"]
    assert timing["ttft_ms"] == 100
    assert timing["ms_per_token"] == 40  # (0.5 s - 0.1 s) / (11 - 1)
    assert timing["tokens_per_second"] == 25
    assert 0 < timing["gateway_ms"] <= timing["total_ms"]
    assert running.sample("conviction_time_per_output_token_seconds_sum", backend="mistral") == 0.04
    assert running.sample("conviction_time_to_first_token_seconds_sum", backend="mistral") == 0.1
    assert running.sample("conviction_gateway_overhead_seconds_count", backend="mistral") == 1
    assert running.sample("conviction_request_duration_seconds_count", backend="mistral") == 1


async def test_times_are_counted_by_detail(running: Gateway) -> None:
    running.backends["mistral"].script = [completion(FULL, usage=Usage(400, 101), time_to_first_token=0.2)]
    assert (await ask(running, EXAMPLE_BODY | {"detail": "full"})).json()["analysis"]
    await ask(running)
    for detail, first, per_token in (("full", 0.2, 0.003), ("brief", 0.1, 0.04)):
        labels = {"backend": "mistral", "detail": detail}
        assert running.sample("conviction_time_to_first_token_seconds_sum", **labels) == first
        assert running.sample("conviction_time_per_output_token_seconds_sum", **labels) == pytest.approx(per_token)
        assert running.sample("conviction_request_duration_seconds_count", **labels) == 1


async def test_reasoning_before_the_text_is_in_no_rate(running: Gateway) -> None:
    running.backends["mistral"].script = [completion(BUY, usage=Usage(400, 8011, reasoning_tokens=8000))]
    assert (await ask(running)).json()["timing"]["tokens_per_second"] == 25


@pytest.mark.parametrize(
    ("usage", "first"), [(Usage(400, 1), 0.1), (Usage(400, 11), None)], ids=["one token", "no first token"]
)
async def test_rates_are_null_where_undefined(running: Gateway, usage: Usage, first: float | None) -> None:
    running.backends["mistral"].script = [completion(BUY, usage=usage, time_to_first_token=first)]
    timing = (await ask(running)).json()["timing"]
    assert timing["ms_per_token"] is None
    assert timing["tokens_per_second"] is None
    assert timing["ttft_ms"] == (None if first is None else 100)
    assert running.sample("conviction_time_per_output_token_seconds_count", backend="mistral") == 0


@pytest.mark.parametrize(
    "text",
    [
        NONSENSE,
        "",
        '{"action":"hold"}',
        '{"action":"HOLD","conviction":5}',
        '{"action":"hold","conviction":11}',
        '{"action":"hold","conviction":"5"}',
        '{"action":"hold","conviction":5,"note":"x"}',
        BUY + BUY,
    ],
)
async def test_an_unparsed_answer_is_retried_and_both_calls_are_charged(running: Gateway, text: str) -> None:
    before = await ledger(running, "mistral")
    running.backends["mistral"].script = [completion(text), completion(BUY)]
    answer = (await ask(running)).json()
    assert answer["action"] == "buy"
    assert answer["timing"]["attempts"] == 2
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (800, 22)
    assert (await booked(running, "mistral", before))["output_tokens"] == 22
    assert running.sample("conviction_unparsed_attempts_total", backend="mistral") == 1


async def test_two_unparsed_answers_are_an_error_never_a_hold_and_are_charged(running: Gateway) -> None:
    before = await ledger(running, "mistral")
    running.backends["mistral"].script = [completion(NONSENSE), completion(NONSENSE), completion(BUY)]
    response = await ask(running)
    assert (response.status_code, response.json()["code"]) == (502, "unparsed_answer")
    assert len(running.backends["mistral"].asked) == 2
    sums = await booked(running, "mistral", before)
    assert (sums["requests"], sums["output_tokens"]) == (1, 22)
    assert running.sample("conviction_tokens_total", backend="mistral", type="output") == 22
    assert running.sample("conviction_recommendations_total", backend="mistral", action="hold") == 0
    labels = {"backend": "mistral", "detail": "brief", "outcome": "unparsed_answer"}
    assert running.sample("conviction_requests_total", **labels) == 1


async def test_the_first_attempt_is_charged_if_the_second_fails(running: Gateway) -> None:
    before = await ledger(running, "mistral")
    running.backends["mistral"].script = [completion(NONSENSE), BackendError("mistral failed")]
    assert (await ask(running)).json()["code"] == "backend_error"
    assert (await booked(running, "mistral", before))["output_tokens"] == 11


async def test_an_unavailable_backend_charges_nothing_and_sets_retry_after(running: Gateway) -> None:
    before = await ledger(running, "mistral")
    running.backends["mistral"].script = [BackendUnavailable("mistral cannot be reached", retry_after=4.2)]
    response = await ask(running)
    assert (response.status_code, response.json()["code"]) == (503, "backend_unavailable")
    assert response.headers["retry-after"] == "5"
    assert await ledger(running, "mistral") == before


async def test_more_cached_than_sent_is_taken_for_all_of_it(running: Gateway) -> None:
    odd = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=500)
    running.backends["mistral"].script = [completion(BUY, usage=odd)]
    assert (await ask(running)).json()["usage"]["cached_tokens"] == 400
    assert running.sample("conviction_tokens_total", backend="mistral", type="input") == 0


async def test_with_both_the_metrics_are_used(store_url: str) -> None:
    provider = BrokenProvider(AssertionError("must not be called"))
    async with gateway(store_url, provider=provider) as running:
        assert (await ask(running)).status_code == 200
        assert provider.asked == 0


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (MarketDataUnavailable("away"), 503, None),
        (MarketDataRateLimited("slower", retry_after=60), 503, "60"),
        (InsufficientHistory("too young"), 422, None),
    ],
)
async def test_market_errors_reach_the_client_and_no_backend(
    store_url: str, error: Exception, status: int, retry_after: str | None
) -> None:
    async with gateway(store_url, provider=BrokenProvider(error)) as running:
        response = await ask(running, {"ticker": "AAPL"})
        assert response.status_code == status
        assert response.headers.get("retry-after") == retry_after
        assert running.asked == 0


async def test_a_stock_without_options_is_answered_with_missing_metrics(store_url: str) -> None:
    async with gateway(store_url, market_options="none") as running:
        answer = (await ask(running, {"ticker": "AAPL", "detail": "brief"})).json()
        assert answer["metrics"]["options"] == {}
        assert "call_iv_avg" in answer["missing"]
        assert answer["metrics_source"]["simulated"] == []


async def test_probabilities_are_calibrated_for_the_published_model_alone(own_store: str, tmp_path: Path) -> None:
    fitted = {"temperature": 1.0, "bias": {"buy": -2.0, "sell": 2.0, "hold": 0.0}}
    store = calibrated_store(tmp_path, {"brief": fitted})
    published = parse(current(store)).model_id
    async with gateway(own_store, model_store=store) as running:
        running.mistral.script = [completion(BUY, model=published), completion(BUY)]
        calibrated, own = [(await ask(running)).json() for _ in range(2)]
    assert calibrated["probabilities_calibrated"] is True
    assert calibrated["probabilities"]["sell"] > calibrated["probabilities"]["buy"]
    assert calibrated["action"] == "buy"  # what the model wrote
    assert own["probabilities_calibrated"] is False
    assert own["probabilities"] == {"buy": 0.7, "sell": 0.1, "hold": 0.2}


async def test_a_blind_question_s_prompt_has_no_ticker(own_store: str) -> None:
    async with gateway(own_store, cache_s=60) as running:
        named, blind, other = [
            (await ask(running, body)).json()
            for body in (
                EXAMPLE_BODY,
                EXAMPLE_BODY | {"blind": True},
                EXAMPLE_BODY | {"ticker": "AAPL", "blind": True},
            )
        ]
        contents = [prompt[0]["content"] for prompt, _ in running.mistral.asked]
    assert "ticker SNPS" in contents[0]
    assert "ticker" not in contents[1]
    assert (named["blind"], blind["blind"], other["blind"]) == (False, True, True)
    assert (blind["ticker"], other["ticker"]) == ("SNPS", "AAPL")
    assert (blind["source"], other["source"]) == ("model", "cache")


async def test_a_blind_question_s_metrics_are_those_of_its_ticker(running: Gateway) -> None:
    body = {"ticker": "AAPL", "as_of": "2012-05-10", "detail": "brief", "blind": True}
    answer = (await ask(running, body)).json()
    assert answer["metrics_source"]["provider"] == "sample"
    (prompt, _) = running.mistral.asked[0]
    assert "AAPL" not in prompt[0]["content"]


# Evidence

FULL_BODY = EXAMPLE_BODY | {"detail": "full"}


async def full_answers(running: Gateway) -> AsyncIterator[dict[str, Any]]:
    """The same full answer from every endpoint."""
    yield (await ask(running, FULL_BODY)).json()
    stream = (await ask(running, FULL_BODY | {"stream": True})).text
    yield json.loads(stream.rpartition("event: recommendation\ndata: ")[2])
    batch = await running.client.post("/v1/recommendations/batch", json={"items": [FULL_BODY]})
    yield json.loads(batch.text.splitlines()[0])["answer"]
    compared = (await running.client.post("/v1/comparisons", json=FULL_BODY)).json()
    for side in compared["sides"].values():
        yield side["answer"]


async def test_every_endpoint_lists_the_evidence_of_a_full_answer(running: Gateway) -> None:
    answers = [answer async for answer in full_answers(running)]
    assert len(answers) == 5
    for answer in answers:
        listed = [vars(item) for item in read_analysis(answer["analysis"])]
        assert answer["evidence"] == listed
        assert listed[0] == {
            **{"group": "bearish", "metric": "IV skew", "value": None, "reading": "puts dearer"},
            **{"vote": -1, "total": -1},
        }


async def test_an_analysis_in_another_format_has_no_evidence(running: Gateway) -> None:
    text = canonical(FullAnswer(analysis="RSI is firm (6).", action="buy", conviction=7))
    running.mistral.script = [completion(text)]
    answer = (await ask(running, FULL_BODY)).json()
    assert (answer["analysis"], answer["evidence"]) == ("RSI is firm (6).", [])


async def test_a_brief_answer_is_not_parsed_for_evidence(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr("app.recommend.read_analysis", lambda text: parsed.append(text) or [])
    assert (await ask(running)).json()["evidence"] == []
    assert parsed == []
    await ask(running, FULL_BODY)
    assert len(parsed) == 1
