"""Paths, headers and bodies of requests cannot forge a line of the log or a header of a response."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.conftest import StandIn
from tests.doubles import EXAMPLE_BODY
from tests.threats.conftest import started

FORGED = '{"level": "error", "message": "forged"}'
ESCAPE = "\x1b[2J"
REQUESTS = (
    f"GET /%0d%0a{FORGED.replace(' ', '%20')} HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    f"GET /{ESCAPE} HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    f"GET /v1/backends HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: {FORGED}\r\n",
    f"GET /v1/backends HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {ESCAPE}{FORGED}\r\n",
    f"GET /v1/backends HTTP/1.1\r\nHost: {FORGED}\r\n",
    "GET /v1/backends HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: a\rSet-Cookie: forged=1\r\n",
)
HOSTILE = {"ticker": f"A\n{FORGED}"}


def exchange(port: int, request: str) -> bytes:
    """Send a request and return the response; empty if the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request.encode("latin-1") + b"Connection: close\r\n\r\n")
        answer = b""
        try:
            while piece := client.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return answer


def test_every_line_of_the_log_is_the_gateway_s_own(tmp_path: Path, stand_in: StandIn) -> None:
    with started(tmp_path, CONVICTION_VLLM_URLS=stand_in.url) as serving:
        answers = [exchange(serving.port, request) for request in REQUESTS]
        assert serving.ask("POST", "/v1/recommendations", HOSTILE)[0] == 422
        assert serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY)[0] == 200
    lines = [json.loads(line) for line in serving.log.read_text().splitlines()]
    assert not [line for line in lines if line["message"] == "forged"]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in requests][-2:] == [422, 200]
    assert ESCAPE not in serving.log.read_text()
    for answer in answers:
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert b"set-cookie" not in head.lower()
        assert b"forged" not in head
