"""Load shedding over real connections: which requests are refused while the event loop lags, and how."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from socket import create_connection

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.server import ServerState

from app.serving import load_shedding, message_timeouts
from app.serving.load_shedding import LoadSheddingProtocol
from app.serving.loop_lag import LoopLag
from app.serving.server import ACCEPTS_PER_TURN, bind_sockets

TIMEOUT_S = 30.0
CHAT = "/v1/chat/completions"


class Gateway:
    """A small application behind a protocol; tests set its lag."""

    def __init__(
        self, application: Starlette | None = None, protocol: type[LoadSheddingProtocol] | None = None
    ) -> None:
        self.bodies = list[bytes]()
        self.release = threading.Event()
        self.protocol = protocol or LoadSheddingProtocol.with_lag(LoopLag())
        self.lag = self.protocol.lag
        routes = [Route("/slow", self._slow), Route("/{path:path}", self._answer, methods=["GET", "POST"])]
        application = application or Starlette(routes=routes)
        config = uvicorn.Config(application, port=0, http=self.protocol, ws="none", log_level="critical")
        self._sockets = bind_sockets(config)
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=(self._sockets,), daemon=True)

    @property
    def port(self) -> int:
        port: int = self._sockets[0].getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    def until(self, reached: Callable[[ServerState], bool]) -> None:
        """Wait until the server's state satisfies `reached`."""
        ends = time.monotonic() + TIMEOUT_S
        while not reached(self.server.server_state):
            assert time.monotonic() < ends
            time.sleep(0.005)

    def stop(self) -> None:
        self.release.set()
        self.server.should_exit = True
        self._thread.join(10)

    async def _answer(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        return JSONResponse({"path": request.url.path})

    def _slow(self, _: Request) -> Response:
        self.release.wait(10)
        return JSONResponse({})


def running(number: int, state: ServerState) -> bool:
    return len(state.tasks) == number


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A server that refuses from the first request on."""
    monkeypatch.setattr(load_shedding, "MIN_REQUESTS", 0)
    gateway = Gateway()
    gateway.start()
    gateway.lag.high = True
    yield gateway
    gateway.stop()


@pytest.fixture
def connection(gateway: Gateway) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    yield connection
    connection.close()


def ask(connection: HTTPConnection, method: str, path: str, body: bytes = b"", **headers: str) -> HTTPResponse:
    connection.request(method, path, body, headers)
    return connection.getresponse()


def test_a_refusal_is_a_problem_document_with_retry_after(gateway: Gateway, connection: HTTPConnection) -> None:
    response = ask(connection, "POST", "/v1/recommendations", b"{}", **{"X-Request-Id": "mine-1"})
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-Id"] == "mine-1"
    problem = json.loads(response.read())
    assert (problem["code"], problem["status"], problem["retry_after"]) == ("overloaded", 503, 1)
    assert problem["request_id"] == "mine-1"
    assert gateway.bodies == []
    assert gateway.lag.refused == 1


def test_chat_completions_are_refused_in_openais_format(connection: HTTPConnection) -> None:
    response = ask(connection, "POST", CHAT, b"{}")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    error = json.loads(response.read())["error"]
    assert (error["type"], error["code"]) == ("server_error", "overloaded")


def test_a_bad_request_id_is_not_repeated(connection: HTTPConnection) -> None:
    response = ask(connection, "GET", "/", **{"X-Request-Id": 'a"b'})
    own = json.loads(response.read())["request_id"]
    assert own == response.headers["X-Request-Id"]
    assert len(own) == 32


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_probes_and_prometheus_are_answered(connection: HTTPConnection, path: str) -> None:
    assert ask(connection, "GET", path).status == 200


def test_the_connection_is_kept_for_the_next_request(gateway: Gateway, connection: HTTPConnection) -> None:
    body = b"x" * 300_000
    for _ in range(3):
        ask(connection, "POST", "/v1/recommendations", body).read()
    gateway.lag.high = False
    response = ask(connection, "POST", "/v1/recommendations", body)
    assert (response.status, json.loads(response.read())) == (200, {"path": "/v1/recommendations"})
    assert gateway.bodies == [body]
    assert gateway.lag.refused == 3


def test_connection_close_is_honoured(connection: HTTPConnection) -> None:
    response = ask(connection, "POST", "/", b"{}", Connection="close")
    assert (response.status, response.headers["Connection"]) == (503, "close")


def test_a_refusal_of_head_has_no_body(connection: HTTPConnection) -> None:
    response = ask(connection, "HEAD", "/")
    assert (response.status, response.read()) == (503, b"")
    assert ask(connection, "GET", "/health/live").status == 200


def test_expect_100_continue_is_refused_before_the_body(gateway: Gateway) -> None:
    with create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        received = connection.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in received
    assert gateway.lag.refused == 1


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    """A pipelined request is not refused before the request ahead of it is answered."""
    gateway.lag.high = False
    with create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        gateway.until(partial(running, 1))
        gateway.lag.high = True
        connection.sendall(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        gateway.until(lambda state: any(each.pipeline for each in state.connections))
        gateway.release.set()
        received = connection.makefile("rb").read()
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.endswith(b'{"path":"/next"}')


def test_few_requests_are_never_refused(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_shedding, "MIN_REQUESTS", 2)
    with ExitStack() as closing:
        connections = [HTTPConnection("127.0.0.1", gateway.port, timeout=10) for _ in range(3)]
        for connection in connections:
            closing.callback(connection.close)
        for number, connection in enumerate(connections[:2], 1):
            connection.request("GET", "/slow")
            gateway.until(partial(running, number))
        refused = ask(connections[2], "GET", "/")
        assert (refused.status, json.loads(refused.read())["code"]) == (503, "overloaded")
        gateway.release.set()
        for connection in connections[:2]:
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"{}")


def test_slow_headers_time_out(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a byte, one with incomplete headers, and one whose second request is incomplete."""
    gateway.lag.high = False
    monkeypatch.setattr(message_timeouts, "HEADER_TIMEOUT_S", 1.0)
    for beginning, answers in ((b"", 0), (b"GET / HTTP/1.1\r\nX-More", 0), (b"GET / HTTP/1.1\r\n\r\nGET /next", 1)):
        with create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(beginning)
            received = connection.makefile("rb").read()
        assert received.count(b"HTTP/1.1 200 OK") == answers
        assert received.endswith(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def test_a_slow_answer_is_not_a_header_timeout(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.lag.high = False
    monkeypatch.setattr(message_timeouts, "HEADER_TIMEOUT_S", 0.5)
    with create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(1.0)
        gateway.release.set()
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")


def test_one_turn_of_the_loop_accepts_many_connections(gateway: Gateway) -> None:
    assert len(gateway.server.servers) == ACCEPTS_PER_TURN
    assert len({sock.getsockname() for server in gateway.server.servers for sock in server.sockets}) == 1
