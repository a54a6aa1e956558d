"""Connections whose requests do not arrive whole in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from socket import create_connection, socket

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.serving import message_timeouts
from app.serving.loop_lag import LoopLag
from app.serving.upgrades import HttpProtocol
from tests.serving.test_load_shedding import Gateway

POST = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\n"


async def read(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def reject(_: Request) -> Response:
    return PlainTextResponse("no", 401)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(message_timeouts, "HEADER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(message_timeouts, "LINGER_S", 0.5)
    routes = [Route("/read", read, methods=["POST"]), Route("/reject", reject, methods=["POST"])]
    gateway = Gateway(Starlette(routes=routes), HttpProtocol.with_lag(LoopLag(), 1.0))
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def connection(gateway: Gateway) -> Iterator[socket]:
    with create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        yield connection


def received(connection: socket) -> bytes:
    """Return what arrives until the server closes the connection."""
    return connection.makefile("rb").read()


def test_a_body_that_does_not_arrive_times_out(connection: socket) -> None:
    connection.sendall(POST % b"/read")
    assert received(connection).startswith(TIMED_OUT)


def test_a_body_that_drips_times_out(connection: socket) -> None:
    connection.sendall(POST % b"/read")
    for _ in range(3):
        connection.sendall(b"x")
        time.sleep(0.2)
    assert received(connection).startswith(TIMED_OUT)


def test_the_body_of_a_rejected_request_is_not_awaited(connection: socket) -> None:
    connection.sendall(POST % b"/reject" + b"x")
    answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert TIMED_OUT not in answer


def test_a_rejected_request_whose_body_arrives_keeps_the_connection(connection: socket) -> None:
    connection.sendall(POST % b"/reject")
    assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
    connection.sendall(b"0123456789" + POST % b"/read" + b"0123456789")
    assert connection.recv(4096).endswith(b"0123456789")


def test_pipelined_headers_time_out(connection: socket) -> None:
    connection.sendall(POST % b"/read" + b"0123456789" + b"GET /re")
    answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert TIMED_OUT in answer


def test_only_requests_that_have_arrived_whole_are_active(gateway: Gateway) -> None:
    connections = [create_connection(("127.0.0.1", gateway.port), timeout=10) for _ in range(5)]
    for connection in connections:
        connection.sendall(POST % b"/read")
    gateway.until(lambda state: len(state.tasks) == len(connections))
    assert gateway.protocol.lag.active == 0
    for connection in connections:
        connection.sendall(b"0123456789")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        connection.close()
    assert gateway.protocol.lag.active == 0
