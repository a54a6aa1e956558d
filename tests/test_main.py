"""`conviction serve` as a process: it starts, answers, logs without secrets, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import pytest

from tests.conftest import StandIn
from tests.doubles import EXAMPLE_BODY

START_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(**given: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"CONVICTION_MARKET": "sample"} | given


class Serving:
    """A gateway in a separate process."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "serve"],
                env=clean_environment(
                    **environment, CONVICTION_PORT=str(self.port), TMPDIR=str(folder), PYTHONPATH=str(Path.cwd())
                ),
                stdout=log,
                stderr=log,
            )

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    @contextmanager
    def up(self, start_s: float = START_S, stop_s: float = 10.0) -> Iterator[Self]:
        """Wait until it answers; stop it afterwards."""
        try:
            self.wait(start_s)
            yield self
        finally:
            self.process.terminate()
            self.process.wait(stop_s)

    def wait(self, seconds: float = START_S) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("GET", "/health/live")
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)
            else:
                return


@pytest.fixture
def serving(stand_in: StandIn, tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(
        tmp_path,
        CONVICTION_VLLM_URLS=stand_in.url,
        OPENAI_BASE_URL=stand_in.url,
        OPENAI_API_KEY=stand_in.key,
        CONVICTION_HOSTING_USD_PER_HOUR="0.10",
        CONVICTION_CAPACITY_TOKENS_PER_HOUR="100000",
        CONVICTION_DRAIN_S="0.2",
    )
    with serving.up():
        yield serving


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for of_thread in listed for child in of_thread.read_text().split()]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_stops_whole(serving: Serving, stand_in: StandIn, tmp_path: Path, how: signal.Signals) -> None:
    assert serving.ask("GET", "/health/ready")[0] == 200
    for backend in ("mistral", "gpt-4"):
        status, answer = serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY, **{"X-Backend": backend})
        assert (status, json.loads(answer)["backend"]) == (200, backend)
    (store,) = children(serving.process.pid)

    serving.process.send_signal(how)
    assert serving.process.wait(10) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(store, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]

    lines = [json.loads(line) for line in serving.log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    asked = [line for line in lines if line.get("path") == "/v1/recommendations"]
    assert [line["status"] for line in asked] == [200, 200]
    assert stand_in.key not in serving.log.read_text()


def test_ten_megabytes_over_a_socket_get_their_answer(serving: Serving) -> None:
    status, answer = serving.ask("POST", "/v1/recommendations", " " * 10_000_000)
    assert (status, json.loads(answer)["code"]) == (413, "too_large")
    assert serving.ask("GET", "/health/live")[0] == 200


def test_a_store_that_dies_shows_in_readiness_and_costs_no_answer(serving: Serving) -> None:
    (store,) = children(serving.process.pid)
    os.kill(store, signal.SIGKILL)
    status, answer = serving.ask("GET", "/health/ready")
    assert status == 503
    assert json.loads(answer)["components"]["store"]["ready"] is False
    assert serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY)[0] == 200


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CONVICTION_HOST", "0.0.0.0"), ("CONVICTION_API_KEYS_FILE", "/nothing"), ("CONVICTION_VLLM_URLS", "http://x/v1")],
)
def test_an_invalid_setting_is_reported_in_one_line_with_exit_code_2(tmp_path: Path, variable: str, value: str) -> None:
    empty = {"CONVICTION_MODEL_STORE": str(tmp_path)}
    serving = Serving(tmp_path, **empty, **{variable: value})
    assert serving.process.wait(START_S) == 2
    said = serving.log.read_text()
    assert said.startswith("conviction: CONVICTION_")
    assert said.count("\n") == 1
