"""An answer on a terminal: the verdict in colour, then the pieces of the analysis when they arrive, wrapped."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, TCPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.examples import RECORDED
from app.backends.base import Backend
from app.cli.analysis_stream import WrappedText
from app.cli.table import WIDTH
from app.contract.completion import BackendName
from app.errors import BackendError
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

COMMAND = [sys.executable, "-m", "app.cli", "recommend", "AAPL", "--as-of", "2012-05-10"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend("mistral")


@pytest.fixture
def url(store_url: str, backend: CountingBackend) -> Iterator[str]:
    backends: dict[BackendName, Backend] = {"mistral": backend, "gpt-4": CountingBackend("gpt-4")}
    settings = Settings.model_validate({"market": "sample"})
    with served(create_app(settings, opened_with(f"{store_url}?db=4", backends)), lifespan="on") as url:
        yield url


@contextmanager
def on_terminal(url: str, command: list[str], **more: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the command with a terminal as its standard output; yield what reads the terminal, and the process."""
    primary, secondary = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "CONVICTION_URL": url, "TERM": "xterm", **more}
    process = subprocess.Popen(command, stdout=secondary, stderr=subprocess.PIPE, env=environment)
    os.close(secondary)
    try:
        yield primary, process
    finally:
        process.kill()
        process.communicate()
        os.close(primary)


def read_all(terminal: int) -> str:
    text = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        text += piece
    return text.decode()


def shown(url: str, command: list[str] = COMMAND, **more: str) -> tuple[int, str, str]:
    """Return the exit status, what the terminal shows, and standard error."""
    with on_terminal(url, command, **more) as (terminal, process):
        text = read_all(terminal)
        assert process.stderr is not None
        return process.wait(60), text.replace("\r\n", "\n"), process.stderr.read().decode()


def test_the_coloured_verdict_precedes_the_analysis(url: str) -> None:
    status, text, errors = shown(url)
    verdict, analysis, rest = text.split("\n\n", 2)
    assert (status, errors) == (0, "")
    assert re.fullmatch(r"\033\[1;3\dm(BUY|SELL|HOLD), conviction \d+/10\033\[0m", verdict)
    assert analysis.startswith("Evidence: ")
    assert rest.startswith("AAPL as of 2012-05-10\n")
    assert "by mistral (double-1)" in rest  # the store may hold the answer already
    assert "\033[2m" in rest  # the disclaimer
    assert not re.search("Evidence|conviction", rest)


def test_the_verdict_follows_an_analysis_that_was_written_first() -> None:
    answer = RECORDED["POST /v1/recommendations"]["200"]["application/json"]["full"]["value"]
    with scripted(event("analysis", {"delta": "first"}), event("recommendation", answer)) as (url, go):
        go.set()
        status, text, _ = shown(url, NO_COLOR="1")
    assert (status, text.split("\n\n")[:2]) == (
        0,
        ["first", f"{answer['action'].upper()}, conviction {answer['conviction']}/10"],
    )


def test_a_repeated_question_is_marked_as_cached(url: str) -> None:
    question = [*COMMAND, "--blind"]
    assert "from the cache" not in shown(url, question)[1]
    assert "by mistral (double-1), from the cache\n" in shown(url, question)[1]


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_gets_none(url: str, setting: dict[str, str]) -> None:
    status, text, _ = shown(url, **setting)
    assert (status, "\033" in text) == (0, False)


def test_a_failure_of_the_stream_exits_1(url: str, backend: CountingBackend) -> None:
    backend.script = [BackendError("it broke")]
    status, text, errors = shown(url, [*COMMAND[:-1], "2012-05-09"])
    assert (status, text) == (1, "")
    assert "backend_error" in errors


@contextmanager
def scripted(first: bytes, rest: bytes) -> Iterator[tuple[str, threading.Event]]:
    """Serve one answer: `first`, and `rest` once the event is set."""
    go = threading.Event()

    class Scripted(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(HEAD + first)
            go.wait(60)
            self.request.sendall(rest)

    with TCPServer(("127.0.0.1", 0), Scripted) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", go
        go.set()


def event(name: str, document: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


def test_a_piece_is_shown_before_the_next_arrives() -> None:
    problem = {"title": "Backend error", "code": "backend_error", "detail": "it broke"}
    rest = event("analysis", {"delta": "\x1b[8mcd"}) + event("error", problem)
    with (
        scripted(event("analysis", {"delta": "first c"}), rest) as (url, go),
        on_terminal(url, COMMAND) as (terminal, process),
    ):
        assert os.read(terminal, 1 << 16) == b"first"
        go.set()
        assert read_all(terminal) == " c\\x1b[8mcd\r\n"
        assert process.wait(60) == 1


def test_a_truncated_stream_exits_3_after_all_that_was_written() -> None:
    with scripted(event("analysis", {"delta": "first c"}), b"") as (url, go):
        go.set()
        status, text, errors = shown(url)
    assert (status, text) == (3, "first c\n")
    assert "closed the connection" in errors


@given(st.lists(st.text(alphabet="ab \n", max_size=120), max_size=20))
def test_wrapping_changes_white_space_alone(pieces: list[str]) -> None:
    wrapped = WrappedText()
    text = "".join([*map(wrapped.add, pieces), wrapped.end()])
    assert text.split() == "".join(pieces).split()
    assert all(len(line) <= WIDTH or " " not in line for line in text.split("\n"))
