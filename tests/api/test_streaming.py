"""Recommendations as server-sent events: order, cancellation and errors."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest

from app.contract.completion import Usage
from app.contract.recommendation import FullAnswer, canonical
from app.errors import BackendError, BackendUnavailable
from tests.doubles import EXAMPLE_BODY, PARTIAL_USAGE, PRICES, Broken, Gateway, ask, completion, gateway, ledger
from tests.waiting import until

FULL = EXAMPLE_BODY | {"detail": "full"}
STREAMED = FULL | {"stream": True}
ANALYSIS = "The trend is up. RSI is no hindrance."
SAID = canonical(FullAnswer(analysis=ANALYSIS, action="buy", conviction=7))
SOON_S = 20.0

Event = tuple[str, dict[str, Any]]


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, cache_s=60) as running:
        running.mistral.script = [completion(SAID)]
        yield running


@asynccontextmanager
async def streaming(running: Gateway, body: object = STREAMED, **headers: str) -> AsyncIterator[httpx.Response]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with running.client.stream("POST", "/v1/recommendations", json=body, headers=names) as response:
        yield response


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """Name and document of each event, parsed as the standard specifies."""
    rest = ""
    async with aclosing(response.aiter_text()) as pieces:
        async for piece in pieces:
            *whole, rest = (rest + piece).split("\n\n")
            for text in whole:
                name, data = text.split("\n")
                yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))
    assert rest == ""


async def events_of(running: Gateway, body: object = STREAMED, **headers: str) -> list[Event]:
    async with streaming(running, body, **headers) as response:
        assert response.status_code == 200
        return [each async for each in events(response)]


def outcomes(running: Gateway, outcome: str) -> float:
    return running.sample("conviction_requests_total", backend="mistral", detail="full", outcome=outcome)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_analysis_comes_in_pieces_and_then_the_answer_that_would_have_come_whole(running: Gateway) -> None:
    async with streaming(running) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (response.headers["x-accel-buffering"], response.headers["cache-control"]) == ("no", "no-store")
        assert response.headers["x-backend"] == "mistral"
        *pieces, last = [each async for each in events(response)]
    decision, *pieces = pieces
    assert decision == ("decision", {"action": "buy", "conviction": 7})
    assert len(pieces) > 3
    assert {name for name, _ in pieces} == {"analysis"}
    assert "".join(document["delta"] for _, document in pieces) == ANALYSIS
    name, recommendation = last
    assert (name, recommendation["analysis"], recommendation["action"]) == ("recommendation", ANALYSIS, "buy")
    whole = (await ask(running, FULL)).json()
    assert list(recommendation) == list(whole)
    assert outcomes(running, "ok") == 2
    assert running.sample("conviction_time_to_first_token_seconds_count", backend="mistral") == 1


async def test_a_piece_comes_while_the_model_is_still_writing(running: Gateway) -> None:
    running.mistral.go = go = asyncio.Event()
    running.mistral.first_piece = SAID.index("trend")
    async with streaming(running) as response, aclosing(events(response)) as coming:
        async with asyncio.timeout(SOON_S):
            assert await anext(coming) == ("decision", {"action": "buy", "conviction": 7})
            assert await anext(coming) == ("analysis", {"delta": "The "})
        assert running.mistral.streams[0].usage == PARTIAL_USAGE
        go.set()
        *pieces, _ = [each async for each in coming]
    assert "".join(document["delta"] for _, document in pieces) == ANALYSIS.removeprefix("The ")


async def test_a_brief_answer_has_no_analysis_to_tell(running: Gateway) -> None:
    running.mistral.script = []
    assert [name for name, _ in await events_of(running, STREAMED | {"detail": "brief"})] == ["recommendation"]


async def test_an_answer_from_the_cache_has_the_same_events(running: Gateway) -> None:
    first, again = await events_of(running), await events_of(running)
    assert "".join(document["delta"] for _, document in again[1:-1]) == ANALYSIS
    assert (first[-1][1]["source"], again[-1][1]["source"]) == ("model", "cache")
    assert running.asked == 1


async def test_a_client_that_joins_receives_all_pieces(running: Gateway) -> None:
    running.mistral.go = go = asyncio.Event()
    first = asyncio.create_task(events_of(running))
    await running.mistral.began(1)
    second = asyncio.create_task(events_of(running))
    await until(lambda: running.sample("conviction_cache_requests_total", result="coalesced") == 1)
    go.set()
    for received in await asyncio.gather(first, second):
        assert "".join(document["delta"] for _, document in received[1:-1]) == ANALYSIS
    assert running.asked == 1


# Errors


async def test_an_error_before_the_first_piece_is_an_event_with_retry_after(running: Gateway) -> None:
    running.mistral.script = [BackendUnavailable("mistral cannot be reached", retry_after=4.2)]
    [(name, problem)] = await events_of(running, X_Request_Id="this-one")
    assert name == "error"
    assert (problem["status"], problem["code"], problem["retry_after"]) == (503, "backend_unavailable", 5)
    assert problem["request_id"] == "this-one"
    assert outcomes(running, "backend_unavailable") == 1


async def test_an_error_in_mid_stream_is_the_last_event_and_the_received_tokens_are_charged(
    running: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    half = SAID[: SAID.index("RSI")]
    running.mistral.script = [Broken(half, BackendError("mistral broke off"), Usage(400, 5))]
    _, *pieces, (name, problem) = await events_of(running)
    assert ANALYSIS.startswith("".join(document["delta"] for _, document in pieces))
    assert (name, problem["code"], problem["detail"]) == ("error", "backend_error", "mistral broke off")
    assert (await ledger(running, "mistral"))["output_tokens"] == 5
    assert outcomes(running, "backend_error") == 1
    assert errors(caplog) == []


async def test_an_unparsed_answer_is_not_retried_once_a_piece_was_sent(running: Gateway) -> None:
    no_answer = SAID.replace("buy", "sit")
    running.mistral.script = [completion(no_answer), completion(SAID)]
    running.mistral.go = go = asyncio.Event()
    pending = asyncio.create_task(events_of(running))
    await running.mistral.began(1)
    await asyncio.sleep(0.05)
    go.set()
    *pieces, (name, problem) = await pending
    assert "".join(document["delta"] for _, document in pieces) == ANALYSIS
    assert (name, problem["code"], running.asked) == ("error", "unparsed_answer", 1)


async def test_an_unparsed_brief_answer_is_retried(running: Gateway) -> None:
    running.mistral.script = [completion("nonsense"), completion('{"action":"buy","conviction":7}')]
    running.mistral.go = go = asyncio.Event()
    pending = asyncio.create_task(events_of(running, STREAMED | {"detail": "brief"}))
    await running.mistral.began(1)
    await asyncio.sleep(0.05)
    go.set()
    [(name, recommendation)] = await pending
    assert (name, recommendation["action"], running.asked) == ("recommendation", "buy", 2)


async def test_an_unexpected_error_is_an_event_without_a_trace(
    running: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    running.mistral.script = [Broken(SAID[:30], RuntimeError("/secret/path exploded"))]
    *_, (name, problem) = await events_of(running)
    assert (name, problem["code"]) == ("error", "internal_error")
    assert "exploded" not in json.dumps(problem)
    assert caplog.text.count("unexpected error") == 1
    assert outcomes(running, "internal_error") == 1


# Who leaves


async def test_a_disconnect_ends_the_call_and_charges_the_received_tokens(
    running: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    running.mistral.go = asyncio.Event()
    async with streaming(running):
        await running.mistral.began(1)
    await asyncio.wait_for(running.mistral.streams[0].left.wait(), 2)
    await until(lambda: outcomes(running, "client_gone") == 1)
    async with asyncio.timeout(SOON_S):
        while not (sums := await ledger(running, "mistral")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sums["nano_usd"] == PRICES["mistral"].cost(PARTIAL_USAGE).nano_usd
    assert sums["estimated_requests"] == 1
    assert running.sample("conviction_in_flight_requests", backend="mistral") == 0
    assert errors(caplog) == []


async def test_line_breaks_in_an_analysis_do_not_break_events(running: Gateway) -> None:
    said = FullAnswer(analysis="one\n\ntwo\rthree\u2028four", action="buy", conviction=7)
    running.mistral.script = [completion(canonical(said))]
    _, *pieces, _ = await events_of(running)
    assert "".join(document["delta"] for _, document in pieces) == said.analysis
