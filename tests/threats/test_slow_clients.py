"""Clients that send slowly occupy only their own connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.doubles import EXAMPLE_BODY
from tests.test_main import Serving
from tests.threats.conftest import started

SLOW = 200
HEAD = b"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
PREFIXES = {
    "in the headers": HEAD,
    "in the body": HEAD + b'Content-Length: 1000\r\n\r\n{"ticker"',
    "in a chunk": HEAD + b'Transfer-Encoding: chunked\r\n\r\n400\r\n{"ticker"',
}


@pytest.fixture
def serving(tmp_path: Path, stand_in: StandIn) -> Iterator[Serving]:
    with started(tmp_path, CONVICTION_VLLM_URLS=stand_in.url) as serving:
        yield serving


@pytest.mark.parametrize("where", PREFIXES)
def test_others_are_answered_beside_hundreds_who_do_not_finish(serving: Serving, where: str) -> None:
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", serving.port), timeout=30)) for _ in range(SLOW)
        ]
        for each in slow:
            each.sendall(PREFIXES[where])
        for _ in range(5):
            assert serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY)[0] == 200
            for each in slow:
                each.sendall(b"X" if where != "in the headers" else b"X-More: more\r\n")
    assert serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY)[0] == 200


def test_headers_without_an_end_are_cut_off(serving: Serving) -> None:
    """The gateway does not read a megabyte of headers."""
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as client:
        try:
            client.sendall(HEAD + b"X-Filler: " + b"x" * 1_000_000 + b"\r\n\r\n")
            answered = client.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            answered = b""
    assert not answered.startswith(b"HTTP/1.1 200")
    assert serving.ask("GET", "/health/live")[0] == 200
