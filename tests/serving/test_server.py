"""Shutdown: readiness falls first, requests are accepted for the drain time, and running requests finish."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from app.stand_in import create_stand_in
from tests.conftest import STAND_IN_KEY, served
from tests.doubles import EXAMPLE_BODY
from tests.test_main import Serving

SLOW_S = 0.02
"""Seconds per token: a full answer takes a few seconds."""
TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def slow_model() -> Iterator[str]:
    with served(create_stand_in(key=STAND_IN_KEY, seconds_per_token=SLOW_S)) as origin:
        yield f"{origin}/v1"


@pytest.fixture
def serving(slow_model: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    serving = Serving(
        tmp_path,
        CONVICTION_VLLM_URLS=slow_model,
        CONVICTION_HOSTING_USD_PER_HOUR="0.10",
        CONVICTION_CAPACITY_TOKENS_PER_HOUR="100000",
        CONVICTION_DRAIN_S=getattr(request, "param", "1"),
    )
    try:
        serving.wait()
        yield serving
    finally:
        serving.process.kill()
        serving.process.wait(10)


def until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + TIMEOUT_S
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def unready(serving: Serving) -> bool:
    status, answer = serving.ask("GET", "/health/ready")
    return status == 503 and json.loads(answer)["components"]["gateway"]["ready"] is False


class Streaming:
    """A streamed recommendation after its first event."""

    def __init__(self, serving: Serving) -> None:
        self._connection = HTTPConnection("127.0.0.1", serving.port, timeout=TIMEOUT_S)
        body = json.dumps(EXAMPLE_BODY | {"detail": "full", "stream": True})
        self._connection.request("POST", "/v1/recommendations", body, {"Content-Type": "application/json"})
        self._response = self._connection.getresponse()
        assert self._response.readline() == b"event: decision\n"

    def rest(self) -> bytes:
        rest = self._response.read()
        self._connection.close()
        return rest


def test_sigterm_loses_no_request(serving: Serving) -> None:
    streaming = Streaming(serving)
    serving.process.send_signal(signal.SIGTERM)
    until(lambda: unready(serving))
    assert serving.ask("GET", "/health/live")[0] == 200
    status, answer = serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY)
    assert (status, json.loads(answer)["source"]) == (200, "model")
    *_, last = streaming.rest().decode().strip().split("\n\n")
    assert last.startswith("event: recommendation\n")
    assert serving.process.wait(TIMEOUT_S) == 0
    with pytest.raises(OSError, match="refused"):
        serving.ask("GET", "/health/live")
    log = serving.log.read_text()
    assert '"level": "error"' not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("serving", ["30"], indirect=True)
def test_ctrl_c_skips_the_drain_and_finishes_running_requests(serving: Serving) -> None:
    streaming = Streaming(serving)
    began = time.monotonic()
    serving.process.send_signal(signal.SIGINT)
    assert b"event: recommendation\n" in streaming.rest()
    assert serving.process.wait(TIMEOUT_S) == 0
    assert time.monotonic() - began < 30
    assert "Traceback" not in serving.log.read_text()


@pytest.mark.parametrize("serving", ["600"], indirect=True)
def test_ctrl_c_ends_the_drain(serving: Serving) -> None:
    serving.process.send_signal(signal.SIGTERM)
    until(lambda: unready(serving))
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(TIMEOUT_S) == 0
