"""Around every request: its id, its line in the log, and nothing that gets past."""

from __future__ import annotations

import json
import logging

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import RequestContext
from app.errors import BackendError, ClientGone
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, Gateway, ask


def own(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the gateway logged, without its test client."""
    return [record for record in caplog.records if record.name.startswith("app.")]


async def test_a_request_id_is_taken_over(running: Gateway) -> None:
    for response in (
        await ask(running, X_Request_Id="trace-1.a:b_c"),
        await running.client.get("/nothing", headers={"X-Request-Id": "trace-1.a:b_c"}),
    ):
        assert response.headers["x-request-id"] == "trace-1.a:b_c"


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, 'a"b', "a\tb"])
async def test_an_invalid_request_id_is_replaced(running: Gateway, given: str) -> None:
    response = await running.client.get("/health/live", headers={"X-Request-Id": given})
    assert len(response.headers["x-request-id"]) == 32


async def test_every_request_has_an_id_of_its_own(running: Gateway) -> None:
    answers = [await running.client.get("/health/live") for _ in range(3)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


async def test_an_unexpected_error_is_a_500_without_a_trace_and_is_logged(
    running: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    running.backends["mistral"].script = [RuntimeError("/secret/path exploded")]
    response = await ask(running, X_Request_Id="this-one")
    assert_problem(response, 500, "internal_error", "under the request id")
    assert "exploded" not in response.text
    assert "/secret/path exploded" in caplog.text
    labels = {"backend": "mistral", "detail": "brief", "outcome": "internal_error"}
    assert running.sample("conviction_requests_total", **labels) == 1


async def test_a_request_is_logged_without_query_or_body(running: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await running.client.post("/v1/recommendations?key=hush", json=EXAMPLE_BODY)
    record = next(record for record in caplog.records if record.message == "request")
    said = vars(record)
    assert (said["method"], said["path"], said["status"]) == ("POST", "/v1/recommendations", 200)
    assert said["ms"] >= 0
    everything = json.dumps([vars(record) for record in own(caplog)], default=str)
    assert "hush" not in everything
    assert "RSI_14" not in everything


async def test_probes_are_not_logged(running: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await running.client.get("/health/live")
    await running.client.get("/metrics")
    assert own(caplog) == []


async def begun(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


@pytest.mark.parametrize("error", [ClientGone("left"), BackendError("failed")])
async def test_an_error_after_the_start_is_not_raised_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await begun(scope, receive, send)
        raise error

    with caplog.at_level(logging.INFO):
        sent = await passed(failing)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert [record.levelname for record in own(caplog)] == ["INFO"]


async def test_an_unexpected_error_after_the_start_cuts_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await begun(scope, receive, send)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await passed(failing)
    assert "unexpected error" in caplog.text


async def passed(app: ASGIApp) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await RequestContext(app)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    return sent
