"""Requests that offer another protocol are answered as if they did not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from socket import create_connection

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.serving.loop_lag import LoopLag
from app.serving.message_limits import MAX_HEAD_BYTES, MAX_PIPELINED
from app.serving.upgrades import HttpProtocol
from tests.serving.test_load_shedding import Gateway

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
LAST = b"POST /last HTTP/1.1\r\nHost: a\r\nX-Kept: upgrade\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast"


async def echo(request: Request) -> JSONResponse:
    kept = {name: request.headers.get(name) for name in ("upgrade", "connection", "x-kept")}
    return JSONResponse({"path": request.url.path, "body": (await request.body()).decode(), **kept})


@pytest.fixture
def port() -> Iterator[int]:
    routes = [Route("/{path:path}", echo, methods=["GET", "POST"])]
    gateway = Gateway(Starlette(routes=routes), HttpProtocol.with_lag(LoopLag()))
    gateway.start()
    yield gateway.port
    gateway.stop()


def post(offer: bytes, framing: bytes = b"Content-Length: 4\r\n", body: bytes = b"body") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nX-Kept: upgrade\r\n" + offer + framing + b"\r\n" + body


def answers(port: int, *pieces: bytes) -> list[dict[str, str | None]]:
    """Send pieces one after the other, and return the documents of all answers until the server closes."""
    with create_connection(("127.0.0.1", port), timeout=10) as client:
        for piece in pieces:
            client.sendall(piece)
        received = client.makefile("rb").read()
    documents = (answer.rpartition(b"\r\n\r\n")[2] for answer in received.split(b"HTTP/1.1 200 OK")[1:])
    return [json.loads(document) for document in documents]


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, b"Connection: upgrade\r\nUpgrade: TLS/1.2\r\n"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 4\r\n", b"body"), (b"Transfer-Encoding: chunked\r\n", b"4\r\nbody\r\n0\r\n\r\n")],
    ids=["length", "chunked"],
)
def test_the_body_is_read_and_the_offer_ignored(port: int, offer: bytes, framing: bytes, body: bytes) -> None:
    first, last = answers(port, post(offer, framing, body) + LAST)
    assert (first["path"], first["body"], first["upgrade"], first["x-kept"]) == ("/", "body", None, "upgrade")
    assert "upgrade" not in (first["connection"] or "").lower()
    assert (last["path"], last["body"]) == ("/last", "last")


def test_it_may_arrive_in_any_pieces(port: int) -> None:
    message = post(H2C) + LAST
    for size in (1, 7, 100):
        pieces = [message[start : start + size] for start in range(0, len(message), size)]
        assert [answer["body"] for answer in answers(port, *pieces)] == ["body", "last"]


def test_a_large_body_is_read(port: int) -> None:
    large = b"x" * 4 * MAX_HEAD_BYTES
    first, _ = answers(port, post(H2C, b"Content-Length: %d\r\n" % len(large), large) + LAST)
    assert first["body"] == large.decode()


def test_a_request_without_a_body_keeps_what_follows(port: int) -> None:
    assert len(answers(port, b"GET / HTTP/1.1\r\nHost: a\r\n" + H2C + b"\r\n" + LAST)) == 2


def test_the_limit_of_pipelined_requests_holds(port: int) -> None:
    assert len(answers(port, post(H2C) * MAX_PIPELINED + LAST)) == MAX_PIPELINED + 1
    with suppress(ConnectionError):
        assert len(answers(port, post(H2C) * 5000)) < MAX_PIPELINED
