"""A cascade: who answers, why, and what it cost, whole, streamed and in a batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.contract.completion import BackendName
from app.contract.recommendation import FullAnswer, canonical
from app.errors import BackendError, BackendUnavailable
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, PRICES, USAGE, Gateway, ask, completion, gateway, ledger

BUY = '{"action":"buy","conviction":7}'
SELL = '{"action":"sell","conviction":4}'
FULL = canonical(FullAnswer(analysis="The trend is up. RSI is no hindrance.", action="buy", conviction=6))
IN_FULL = EXAMPLE_BODY | {"detail": "full"}
CASCADE = {"X_Backend": "Cascade"}
COST = {name: f"{PRICES[name].cost(USAGE).nano_usd / 1e9:f}".rstrip("0") for name in PRICES}
AWAY = BackendUnavailable("mistral cannot be reached", retry_after=5)


def sure(share: float) -> dict[str, object]:
    return {"probabilities": {"buy": share, "sell": (1 - share) / 2, "hold": (1 - share) / 2}}


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, cascade_threshold=0.6) as running:
        running.backends["gpt-4"].script = [completion(SELL, model="gpt-4.1")]
        yield running


def asked(running: Gateway) -> dict[BackendName, list[str]]:
    """The details that each backend was asked for."""
    return {name: [detail for _, detail in backend.asked] for name, backend in running.backends.items()}


def outcomes(running: Gateway, backend: BackendName, detail: str = "brief", outcome: str = "ok") -> float:
    return running.sample("conviction_requests_total", backend=backend, detail=detail, outcome=outcome)


@pytest.mark.parametrize("share", [0.6, 0.95])
async def test_a_sure_answer_is_kept_after_one_call(running: Gateway, share: float) -> None:
    running.mistral.script = [completion(BUY, **sure(share))]
    response = await ask(running, **CASCADE)
    answer = response.json()
    assert (answer["action"], answer["backend"], response.headers["x-backend"]) == ("buy", "mistral", "mistral")
    verdict = {"threshold": 0.6, "action": "buy", "probability": share, "passed_on": False, "cost": None}
    assert answer["cascade"] == verdict
    assert answer["cost"]["usd"] == COST["mistral"]
    assert asked(running) == {"mistral": ["brief"], "gpt-4": []}
    assert (outcomes(running, "mistral"), outcomes(running, "gpt-4")) == (1, 0)


UNSURE = [(sure(0.59), 0.59), ({"probabilities": None}, None)]


@pytest.mark.parametrize(("probabilities", "probability"), UNSURE, ids=["unsure", "none given"])
@pytest.mark.parametrize("body", [EXAMPLE_BODY, IN_FULL], ids=["brief", "full"])
async def test_an_unsure_answer_is_passed_on_and_both_calls_are_charged(
    running: Gateway, body: dict[str, Any], probabilities: dict[str, object], probability: float | None
) -> None:
    running.mistral.script = [completion(BUY, **probabilities)]
    running.backends["gpt-4"].script = [completion(SELL if body is EXAMPLE_BODY else FULL, model="gpt-4.1")]
    response = await ask(running, body, **CASCADE)
    answer = response.json()
    assert (answer["backend"], response.headers["x-backend"], answer["fallback_from"]) == ("gpt-4", "gpt-4", None)
    assert "x-fallback-from" not in response.headers
    passed = answer["cascade"]
    assert (passed["action"], passed["probability"], passed["passed_on"]) == ("buy", probability, True)
    assert (passed["cost"]["usd"], answer["cost"]["usd"]) == (COST["mistral"], COST["gpt-4"])
    assert asked(running) == {"mistral": ["brief"], "gpt-4": [body["detail"]]}
    for name in PRICES:
        assert (await ledger(running, name))["nano_usd"] == PRICES[name].cost(USAGE).nano_usd
    assert (outcomes(running, "mistral"), outcomes(running, "gpt-4", body["detail"])) == (0, 1)
    actions = [running.sample("conviction_recommendations_total", backend="mistral", action=a) for a in ("buy", "sell")]
    assert actions == [0, 0]  # it was asked, and recommended nothing
    assert running.sample("conviction_time_to_first_token_seconds_count", backend="mistral") == 1


async def test_the_first_backend_writes_a_sure_answer_in_full(running: Gateway) -> None:
    running.mistral.script = [completion(BUY, **sure(0.9)), completion(FULL)]
    answer = (await ask(running, IN_FULL, **CASCADE)).json()
    assert (answer["backend"], answer["conviction"], answer["probabilities_given"]) == ("mistral", 6, "metrics")
    assert (answer["cascade"]["probability"], answer["cascade"]["passed_on"]) == (0.9, False)
    assert (answer["cascade"]["cost"]["usd"], answer["cost"]["usd"]) == (COST["mistral"], COST["mistral"])
    assert asked(running) == {"mistral": ["brief", "full"], "gpt-4": []}
    assert (await ledger(running, "mistral"))["requests"] == 2


@pytest.mark.parametrize(("share", "backend"), [(0.9, "mistral"), (0.5, "gpt-4")])
@pytest.mark.parametrize("detail", ["brief", "full"])
async def test_a_stream_holds_the_analysis_of_the_answering_backend(
    running: Gateway, share: float, backend: BackendName, detail: str
) -> None:
    running.mistral.script = [completion(BUY, **sure(share))]
    running.backends["gpt-4"].script = [completion(SELL)]
    if detail == "full":
        running.mistral.script.append(completion(FULL))
        running.backends["gpt-4"].script = [completion(FULL)]
    response = await ask(running, EXAMPLE_BODY | {"detail": detail, "stream": True}, **CASCADE)
    received = [text.split("\n") for text in response.text.strip().split("\n\n")]
    events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in received]
    said = "".join(data["delta"] for name, data in events if name == "analysis")
    assert said == ("The trend is up. RSI is no hindrance." if detail == "full" else "")
    kind, answer = events[-1]
    assert (kind, answer["backend"], response.headers["x-backend"]) == ("recommendation", backend, backend)
    assert answer["cascade"]["passed_on"] == (backend == "gpt-4")


async def test_each_item_of_a_batch_is_judged_for_itself_and_the_sum_is_of_all_calls(running: Gateway) -> None:
    by_ticker = {"AAA": 0.9, "BBB": 0.3, "CCC": 0.61}
    running.mistral.script = [completion(BUY, **sure(share)) for share in by_ticker.values()]
    items = [EXAMPLE_BODY | {"ticker": ticker} for ticker in by_ticker]
    response = await running.client.post(
        "/v1/recommendations/batch", json={"items": items}, headers={"X-Backend": "cascade"}
    )
    *lines, last = map(json.loads, response.text.splitlines())
    answers = {line["index"]: line["answer"] for line in lines}
    assert [answers[place]["backend"] for place in range(3)].count("gpt-4") == 1
    assert all(answer["cascade"]["passed_on"] == (answer["backend"] == "gpt-4") for answer in answers.values())
    assert response.headers["x-backend"] == "cascade"
    spent = sum([(await ledger(running, name))["nano_usd"] for name in PRICES])
    assert float(last["summary"]["usd"]) == pytest.approx(spent / 1e9)


async def test_a_ticker_is_looked_up_once_for_both(running: Gateway) -> None:
    running.mistral.script = [completion(BUY, **sure(0.2))]
    answer = (await ask(running, {"ticker": "AAPL", "detail": "brief"}, **CASCADE)).json()
    assert (answer["backend"], answer["metrics_source"]["provider"]) == ("gpt-4", "sample")
    prompts = [backend.asked[0][0] for backend in running.backends.values()]
    assert prompts[0] == prompts[1]


async def test_a_failure_without_a_fallback_is_the_answer(running: Gateway) -> None:
    running.mistral.script = [AWAY]
    assert_problem(await ask(running, **CASCADE), 503, "backend_unavailable")
    assert outcomes(running, "mistral", outcome="backend_unavailable") == 1
    running.mistral.script = [completion(BUY, **sure(0.1))]
    running.backends["gpt-4"].script = [BackendError("gpt-4 failed (HTTP 500)")]
    assert_problem(await ask(running, **CASCADE), 502, "backend_error")
    assert outcomes(running, "gpt-4", outcome="backend_error") == 1


async def test_a_first_that_fails_is_stood_in_for_by_the_second(running: Gateway) -> None:
    running.mistral.script = [AWAY]
    response = await ask(running, **CASCADE, X_Fallback="gpt-4")
    answer = response.json()
    assert (answer["backend"], answer["fallback_from"]) == ("gpt-4", "mistral")
    assert (response.headers["x-backend"], response.headers["x-fallback-from"]) == ("gpt-4", "mistral")
    nothing = {"threshold": 0.6, "action": None, "probability": None, "passed_on": True, "cost": None}
    assert answer["cascade"] == nothing
    assert (outcomes(running, "mistral", outcome="backend_unavailable"), outcomes(running, "gpt-4")) == (1, 1)


async def test_a_second_that_fails_is_stood_in_for_by_the_first(running: Gateway) -> None:
    running.mistral.script = [completion(BUY, **sure(0.1)), completion(FULL)]
    running.backends["gpt-4"].script = [BackendError("gpt-4 failed (HTTP 500)")]
    answer = (await ask(running, IN_FULL, **CASCADE, X_Fallback="mistral")).json()
    assert (answer["backend"], answer["fallback_from"], answer["cascade"]["passed_on"]) == ("mistral", "gpt-4", True)
    assert asked(running) == {"mistral": ["brief", "full"], "gpt-4": ["full"]}


async def test_a_cached_first_answer_costs_nothing(own_store: str) -> None:
    async with gateway(own_store, cascade_threshold=0.6, cache_s=60) as running:
        running.mistral.script = [completion(BUY, **sure(0.2))]
        await ask(running, **CASCADE)
        again: httpx.Response = await ask(running, **CASCADE)
        answer = again.json()
        assert (answer["source"], answer["cost"]["usd"], answer["cascade"]["cost"]["usd"]) == ("cache", "0", "0")
        assert (answer["backend"], answer["cascade"]["probability"]) == ("gpt-4", 0.2)
        assert running.asked == 2


async def test_the_time_that_the_first_took_is_the_second_s_no_more(running: Gateway) -> None:
    running.mistral.script = [completion(BUY, **sure(0.2))]
    running.backends["gpt-4"].go = asyncio.Event()
    assert_problem(await ask(running, **CASCADE, X_Timeout_Ms="1500"), 504, "deadline_exceeded")
    assert running.asked == 2
    assert outcomes(running, "gpt-4", outcome="deadline_exceeded") == 1


async def test_a_cascade_needs_leave_to_ask_both(own_store: str, tmp_path: Any) -> None:
    path = tmp_path / "keys"
    path.write_text("admin:an-admin-key-0123456789\n")
    path.chmod(0o600)
    async with gateway(own_store, api_keys_file=path) as running:
        admin = {"X-API-Key": "an-admin-key-0123456789"}
        made = await running.client.post("/v1/keys", json={"name": "desk", "backends": ["mistral"]}, headers=admin)
        refused = await ask(running, **CASCADE, X_API_Key=made.json()["key"])
        assert_problem(refused, 403, "forbidden", "gpt-4")
