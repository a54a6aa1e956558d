"""The fallback: on request, within the scope of the key, before any piece of an answer was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.contract.completion import NO_USAGE, BackendName, Usage
from app.contract.recommendation import FullAnswer, canonical
from app.errors import BackendError, BackendUnavailable, DeadlineExceeded, NotConfigured
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, PRICES, USAGE, Broken, Gateway, ask, completion, gateway, ledger
from tests.waiting import until

BUY = '{"action":"buy","conviction":7}'
SAID = canonical(FullAnswer(analysis="The trend is up. RSI is no hindrance.", action="buy", conviction=7))
STREAMED = EXAMPLE_BODY | {"detail": "full", "stream": True}
UNAVAILABLE = BackendUnavailable("mistral cannot be reached", retry_after=5)
ELSE = {"X_Fallback": "GPT-4"}
SOON_S = 20.0


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, cache_s=60) as running:
        running.backends["gpt-4"].script = [completion(BUY, model="gpt-4.1")]
        yield running


def outcomes(running: Gateway, backend: BackendName, outcome: str, detail: str = "brief") -> float:
    return running.sample("conviction_requests_total", backend=backend, detail=detail, outcome=outcome)


async def events(running: Gateway, **headers: str) -> tuple[httpx.Response, list[tuple[str, dict[str, Any]]]]:
    response = await ask(running, STREAMED, **headers)
    received = [text.split("\n") for text in response.text.strip().split("\n\n")]
    return response, [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in received
    ]


@pytest.mark.parametrize(
    "fault",
    [
        UNAVAILABLE,
        NotConfigured("mistral is not set up"),
        BackendError("mistral failed (HTTP 500)"),
        DeadlineExceeded("mistral said nothing within 1 s"),
        Broken(BUY[:9], BackendError("mistral broke off"), Usage(400, 3, estimated=True)),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_the_fallback_answers_and_both_calls_are_charged_and_counted(running: Gateway, fault: Any) -> None:
    running.mistral.script = [fault]
    response = await ask(running, **ELSE)
    answer = response.json()
    assert (response.status_code, answer["action"]) == (200, "buy")
    assert (answer["backend"], answer["fallback_from"], answer["model"]) == ("gpt-4", "mistral", "gpt-4.1")
    assert (response.headers["x-backend"], response.headers["x-fallback-from"]) == ("gpt-4", "mistral")
    cost = PRICES["gpt-4"].cost(USAGE).nano_usd
    assert float(answer["cost"]["usd"]) == cost / 1e9
    assert (await ledger(running, "gpt-4"))["nano_usd"] == cost
    wasted = PRICES["mistral"].cost(getattr(fault, "usage", NO_USAGE)).nano_usd
    assert (await ledger(running, "mistral")).get("nano_usd", 0) == wasted
    code = getattr(fault, "error", fault).code
    assert (outcomes(running, "mistral", code), outcomes(running, "gpt-4", "ok")) == (1, 1)
    assert sum(outcomes(running, name, "ok") for name in running.backends) == 1
    assert {running.sample("conviction_in_flight_requests", backend=name) for name in running.backends} == {0}


async def test_the_time_that_the_first_took_to_fail_is_not_the_gateway_s_own(running: Gateway) -> None:
    running.mistral.script = [Broken(BUY, BackendError("mistral broke off"))]
    running.mistral.go = asyncio.Event()
    pending = asyncio.create_task(ask(running, **ELSE))
    await running.mistral.began(1)
    await asyncio.sleep(0.5)
    running.mistral.go.set()
    timing = (await pending).json()["timing"]
    assert timing["total_ms"] > 500
    assert timing["gateway_ms"] <= timing["total_ms"] - 450


async def test_without_the_header_there_is_no_fallback(running: Gateway) -> None:
    running.mistral.script = [UNAVAILABLE]
    assert_problem(await ask(running), 503, "backend_unavailable")
    answer = await ask(running, **ELSE)  # nor where nothing fails
    assert (answer.json()["backend"], answer.json()["fallback_from"]) == ("mistral", None)
    assert "x-fallback-from" not in answer.headers
    assert running.backends["gpt-4"].asked == []


async def test_a_full_queue_triggers_the_fallback(own_store: str) -> None:
    async with gateway(own_store, wire=True, mistral_max_concurrency=1, mistral_queue_size=0) as running:
        running.mistral.go = asyncio.Event()
        first = asyncio.create_task(ask(running))
        await running.mistral.began(1)
        other = EXAMPLE_BODY | {"ticker": "AAPL"}
        assert (await ask(running, other, **ELSE)).json()["fallback_from"] == "mistral"
        assert outcomes(running, "mistral", "overloaded") == 1
        running.mistral.go.set()
        assert (await first).json()["backend"] == "mistral"


async def test_the_fallback_s_answer_is_cached_under_its_own_backend(running: Gateway) -> None:
    running.mistral.script = [UNAVAILABLE, UNAVAILABLE]
    await ask(running, **ELSE)
    again = (await ask(running, **ELSE)).json()
    assert (again["backend"], again["source"], again["fallback_from"]) == ("gpt-4", "cache", "mistral")
    assert (await ask(running, X_Backend="gpt-4")).json()["fallback_from"] is None
    assert (await ask(running)).json()["source"] == "model"


async def test_if_both_fail_the_second_error_is_returned_and_both_are_counted(running: Gateway) -> None:
    running.mistral.script = [UNAVAILABLE]
    running.backends["gpt-4"].script = [BackendError("gpt-4 failed (HTTP 500)")]
    response = await ask(running, **ELSE)
    assert_problem(response, 502, "backend_error")
    assert "gpt-4" in response.json()["detail"]
    assert (outcomes(running, "mistral", "backend_unavailable"), outcomes(running, "gpt-4", "backend_error")) == (1, 1)


async def test_an_unparsed_answer_does_not_trigger_the_fallback(running: Gateway) -> None:
    running.mistral.script = [completion("nonsense"), completion("nonsense")]
    assert_problem(await ask(running, **ELSE), 502, "unparsed_answer")
    assert running.backends["gpt-4"].asked == []


async def test_there_is_one_deadline_for_both(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    response = await ask(running, X_Timeout_Ms="200", **ELSE)
    assert_problem(response, 504, "deadline_exceeded")
    assert running.backends["gpt-4"].asked == []
    running.mistral.go, running.mistral.script = None, [UNAVAILABLE]
    running.backends["gpt-4"].go = asyncio.Event()
    response = await ask(running, EXAMPLE_BODY | {"ticker": "AAPL"}, X_Timeout_Ms="300", **ELSE)
    assert "0.3 s" in response.json()["detail"]
    assert outcomes(running, "gpt-4", "deadline_exceeded") == 1


async def test_a_budget_of_the_other_s_holds(own_store: str) -> None:
    async with gateway(own_store, gpt4_usd_per_day="0.000001") as running:
        running.mistral.script = [UNAVAILABLE]
        assert_problem(await ask(running, **ELSE), 429, "budget_exceeded")
        assert running.backends["gpt-4"].asked == []
        assert outcomes(running, "gpt-4", "budget_exceeded") == 1


async def test_a_forbidden_fallback_is_refused_before_any_call(own_store: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("admin:0123456789abcdef")
    keys.chmod(0o600)
    async with gateway(own_store, api_keys_file=keys) as running:
        order = {"name": "only mistral", "backends": ["mistral"]}
        issued = await running.client.post("/v1/keys", json=order, headers={"X-API-Key": "0123456789abcdef"})
        limited = {"X_API_Key": issued.json()["key"]}
        assert_problem(await ask(running, **limited, **ELSE), 403, "forbidden")
        assert running.asked == 0
        assert (await ask(running, **limited)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X_Fallback": "gpt-5"}, 400, "unknown_backend"),
        ({"X_Fallback": ""}, 400, "unknown_backend"),
        ({"X_Fallback": "mistral"}, 422, "invalid_request"),
        ({"X_Fallback": "gpt-4", "X_Backend": "gpt-4"}, 422, "invalid_request"),
    ],
)
async def test_an_invalid_fallback_is_refused(
    running: Gateway, headers: dict[str, str], status: int, code: str
) -> None:
    response = await ask(running, **headers)
    assert_problem(response, status, code)
    assert "X-Fallback" in response.json()["detail"]
    assert running.asked == 0


async def test_a_chat_completion_refuses_a_fallback(running: Gateway) -> None:
    chat = {"model": "mistral", "messages": [{"role": "user", "content": "Hello."}]}
    response = await running.client.post("/v1/chat/completions", json=chat, headers={"X-Fallback": "gpt-4"})
    assert response.status_code == 422
    assert "X-Fallback" in response.json()["error"]["message"]


# Streams


@pytest.mark.parametrize("fault", [UNAVAILABLE, Broken(SAID[:10], BackendError("mistral broke off"), Usage(400, 2))])
async def test_a_stream_falls_back_before_its_first_piece(running: Gateway, fault: Any) -> None:
    running.mistral.script = [fault]
    running.backends["gpt-4"].script = [completion(SAID)]
    response, [*pieces, (name, answer)] = await events(running, **ELSE)
    assert (response.headers["x-backend"], response.headers["x-fallback-from"]) == ("gpt-4", "mistral")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "".join(document["delta"] for _, document in pieces[1:]) == answer["analysis"]
    assert (name, answer["backend"], answer["fallback_from"]) == ("recommendation", "gpt-4", "mistral")
    code = "backend_unavailable" if fault is UNAVAILABLE else "backend_error"
    assert (outcomes(running, "mistral", code, "full"), outcomes(running, "gpt-4", "ok", "full")) == (1, 1)


async def test_a_stream_does_not_fall_back_after_its_first_piece(running: Gateway) -> None:
    running.mistral.script = [Broken(SAID[: SAID.index("RSI")], BackendError("mistral broke off"), Usage(400, 5))]
    response, [*pieces, (name, problem)] = await events(running, **ELSE)
    assert pieces
    assert (name, problem["detail"]) == ("error", "mistral broke off")
    assert response.headers["x-backend"] == "mistral"
    assert "x-fallback-from" not in response.headers
    assert running.backends["gpt-4"].asked == []


async def test_a_disconnect_does_not_trigger_the_fallback(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    pending = asyncio.create_task(events(running, **ELSE))
    await running.mistral.began(1)
    pending.cancel()
    await asyncio.wait((pending,))
    await asyncio.wait_for(running.mistral.streams[0].left.wait(), SOON_S)
    await until(lambda: outcomes(running, "mistral", "client_gone", "full"))
    assert running.backends["gpt-4"].asked == []


# Batches


async def test_each_item_of_a_batch_falls_back_by_itself(running: Gateway) -> None:
    running.mistral.script = [UNAVAILABLE]
    items = [EXAMPLE_BODY | {"ticker": f"T{number}"} for number in range(4)]
    response = await running.client.post(
        "/v1/recommendations/batch", json={"items": items}, headers={"X-Fallback": "gpt-4"}
    )
    *lines, summary = [json.loads(line) for line in response.text.splitlines()]
    assert summary["summary"]["succeeded"] == 4
    assert sorted(str(line["answer"]["fallback_from"]) for line in lines) == ["None", "None", "None", "mistral"]
    assert response.headers["x-backend"] == "mistral"
    assert (outcomes(running, "mistral", "ok"), outcomes(running, "gpt-4", "ok")) == (3, 1)
