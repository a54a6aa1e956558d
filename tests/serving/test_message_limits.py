"""Limits of request lines, headers and trailers, over real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from socket import create_connection, socket

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.serving.loop_lag import LoopLag
from app.serving.message_limits import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from app.serving.upgrades import HttpProtocol

TIMEOUT_S = 30.0
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
MEGABYTES = 8 * 1024 * 1024


async def echo(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"headers": sorted(request.headers), "bytes": len(body)})


async def unread(_: Request) -> JSONResponse:
    return JSONResponse({})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    routes = [Route("/unread", unread, methods=["POST"]), Route("/{path:path}", echo, methods=["GET", "POST"])]
    protocol = HttpProtocol.with_lag(LoopLag())
    config = uvicorn.Config(Starlette(routes=routes), port=0, http=protocol, ws="none", log_level="critical")
    listening, server = config.bind_socket(), uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def status(port: int, *pieces: bytes) -> int:
    """Send pieces until the server closes; return the status of its answer, 0 if it closed without one."""
    with create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        send(client, pieces)
        try:
            answer = client.recv(65536)
        except ConnectionError:
            return 0
    return int(answer.split()[1]) if answer else 0


def send(client: socket, pieces: tuple[bytes, ...]) -> int:
    sent = 0
    for piece in pieces:
        try:
            client.sendall(piece)
        except ConnectionError:
            break
        sent += len(piece)
    return sent


def head(*headers: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: a", b"Connection: close", *headers, b"", b""))


@pytest.mark.parametrize(
    "message",
    [
        head(b"A: " + b"x" * MAX_HEAD_BYTES),
        head(b"x" * MAX_HEAD_BYTES + b": a"),
        head(line=b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1"),
        head(*[b"A: %d" % number for number in range(MAX_HEADERS)]),
    ],
    ids=["value", "name", "line", "number"],
)
def test_what_exceeds_a_limit_is_answered_431(port: int, message: bytes) -> None:
    assert status(port, message) == 431


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 1000),
        (b"GET / HTTP/1.1\r\nA: ", b"x" * 6000),
        (b"GET /", b"x" * 6000),
        (b"", b"\r\n" * 3000),
        (CHUNKED + b"0\r\n", b"T: b\r\n" * 1000),
        (CHUNKED + b"0\r\nT: ", b"x" * 6000),
        (CHUNKED + b"1;e=", b"x" * 6000),
        (CHUNKED.replace(b"/ ", b"/unread ") + b"0\r\n", b"T: b\r\n" * 1000),
    ],
    ids=["headers", "header", "line", "blank lines", "trailers", "trailer", "chunk extension", "after the answer"],
)
def test_the_connection_is_closed_before_megabytes_are_received(port: int, start: bytes, piece: bytes) -> None:
    with create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        client.sendall(start)
        assert send(client, (piece,) * (MEGABYTES // len(piece))) < MEGABYTES - len(piece)


def test_what_is_within_the_limits_is_passed_on(port: int) -> None:
    many = [b"A: %d" % number for number in range(MAX_HEADERS - 2)]
    assert status(port, head(*many)) == 200
    assert status(port, head(b"A: " + b"x" * (MAX_HEAD_BYTES - 100))) == 200


def test_a_large_body_in_small_chunks_is_passed_on(port: int) -> None:
    with create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        client.sendall(CHUNKED + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
        assert b'"bytes":50001' in client.recv(65536)


def test_trailers_do_not_become_headers(port: int) -> None:
    with create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        client.sendall(CHUNKED + b"0\r\nX-Api-Key: a\r\n\r\n")
        assert b"x-api-key" not in client.recv(65536)


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"chunked, chunked", b"gzip"])
def test_other_transfer_codings_are_refused(port: int, coding: bytes) -> None:
    message = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + coding + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    assert status(port, message) in (400, 501)


def pipelined(port: int, count: int) -> int:
    """Send requests together, then read until the server closes; return the number of answers."""
    last = head(line=b"GET /last HTTP/1.1")
    with create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        send(client, (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * count + last,))
        answers = b""
        try:
            while piece := client.recv(65536):
                answers += piece
        except ConnectionError:
            pass
    return answers.count(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_up_to_a_number(port: int) -> None:
    assert pipelined(port, MAX_PIPELINED) == MAX_PIPELINED + 1
    assert pipelined(port, 5000) < MAX_PIPELINED


def test_a_refusal_is_not_taken_for_the_answer_to_an_earlier_request(port: int) -> None:
    first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    with create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        client.sendall(first + head(b"A: " + b"x" * MAX_HEAD_BYTES))
        assert b"431" not in client.recv(65536).split(b"\r\n")[0]
