"""What is refused at the door while the processor cannot keep up, and in which words; by real connections."""

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

from app.serving import load_shedding
from app.serving.load_shedding import Shedding
from app.serving.loop_lag import LoopLag
from app.serving.server import ACCEPTED_A_TURN, listening

SOON_S = 30.0
CHAT = "/v1/chat/completions"


class Stand:
    """An application whose loop lags as tests say."""

    def __init__(self) -> None:
        self.lag, self.bodies = LoopLag(), list[bytes]()
        self.held = threading.Event()
        routes = [Route("/slow", self._slow), Route("/{path:path}", self._answer, methods=["GET", "POST"])]
        protocol = Shedding.under(self.lag)
        config = uvicorn.Config(Starlette(routes=routes), port=0, http=protocol, ws="none", log_level="critical")
        self._sockets = listening(config)
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
        """What uvicorn knows of its connections and requests is so."""
        ends = time.monotonic() + SOON_S
        while not reached(self.server.server_state):
            assert time.monotonic() < ends
            time.sleep(0.005)

    def stop(self) -> None:
        self.held.set()
        self.server.should_exit = True
        self._thread.join(10)

    async def _answer(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        return JSONResponse({"path": request.url.path})

    def _slow(self, _: Request) -> Response:
        self.held.wait(10)
        return JSONResponse({})


def under_way(number: int, state: ServerState) -> bool:
    return len(state.tasks) == number


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """One that refuses from the first request on."""
    monkeypatch.setattr(load_shedding, "FEW", 0)
    stand = Stand()
    stand.start()
    stand.lag.high = True
    yield stand
    stand.stop()


@pytest.fixture
def connection(stand: Stand) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", stand.port, timeout=10)
    yield connection
    connection.close()


def ask(connection: HTTPConnection, method: str, path: str, body: bytes = b"", **headers: str) -> HTTPResponse:
    connection.request(method, path, body, headers)
    return connection.getresponse()


def test_a_refusal_is_a_problem_that_says_when_to_come_again(stand: Stand, connection: HTTPConnection) -> None:
    response = ask(connection, "POST", "/v1/recommendations", b"{}", **{"X-Request-Id": "mine-1"})
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-Id"] == "mine-1"
    problem = json.loads(response.read())
    assert (problem["code"], problem["status"], problem["retry_after"]) == ("overloaded", 503, 1)
    assert problem["request_id"] == "mine-1"
    assert stand.bodies == []
    assert stand.lag.refused == 1


def test_chat_completions_are_refused_in_openais_words(connection: HTTPConnection) -> None:
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
def test_probes_and_prometheus_are_let_in(connection: HTTPConnection, path: str) -> None:
    assert ask(connection, "GET", path).status == 200


def test_the_connection_is_kept_and_good_for_the_next_request(stand: Stand, connection: HTTPConnection) -> None:
    body = b"x" * 300_000
    for _ in range(3):
        ask(connection, "POST", "/v1/recommendations", body).read()
    stand.lag.high = False
    response = ask(connection, "POST", "/v1/recommendations", body)
    assert (response.status, json.loads(response.read())) == (200, {"path": "/v1/recommendations"})
    assert stand.bodies == [body]
    assert stand.lag.refused == 3


def test_a_connection_that_is_to_end_ends(connection: HTTPConnection) -> None:
    response = ask(connection, "POST", "/", b"{}", Connection="close")
    assert (response.status, response.headers["Connection"]) == (503, "close")


def test_head_has_no_body(connection: HTTPConnection) -> None:
    response = ask(connection, "HEAD", "/")
    assert (response.status, response.read()) == (503, b"")
    assert ask(connection, "GET", "/health/live").status == 200


def test_who_asks_before_sending_a_body_need_not_send_it(stand: Stand) -> None:
    with create_connection(("127.0.0.1", stand.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        said = connection.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in said
    assert stand.lag.refused == 1


def test_requests_in_line_on_one_connection_are_answered_in_their_order(stand: Stand) -> None:
    """One that waits for another on its connection is not refused before that is answered."""
    stand.lag.high = False
    with create_connection(("127.0.0.1", stand.port), timeout=10) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        stand.until(partial(under_way, 1))
        stand.lag.high = True
        connection.sendall(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        stand.until(lambda state: any(each.pipeline for each in state.connections))
        stand.held.set()
        said = connection.makefile("rb").read()
    assert said.count(b"HTTP/1.1 200 OK") == 2
    assert said.endswith(b'{"path":"/next"}')


def test_few_requests_are_never_refused(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_shedding, "FEW", 2)
    with ExitStack() as closing:
        connections = [HTTPConnection("127.0.0.1", stand.port, timeout=10) for _ in range(3)]
        for connection in connections:
            closing.callback(connection.close)
        for number, connection in enumerate(connections[:2], 1):
            connection.request("GET", "/slow")
            stand.until(partial(under_way, number))
        refused = ask(connections[2], "GET", "/")
        assert (refused.status, json.loads(refused.read())["code"]) == (503, "overloaded")
        stand.held.set()
        for connection in connections[:2]:
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"{}")


def test_headers_have_their_time(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing, one that does not come to an end, and one whose second request does not."""
    stand.lag.high = False
    monkeypatch.setattr(load_shedding, "HEADERS_S", 1.0)
    for beginning, answers in ((b"", 0), (b"GET / HTTP/1.1\r\nX-More", 0), (b"GET / HTTP/1.1\r\n\r\nGET /next", 1)):
        with create_connection(("127.0.0.1", stand.port), timeout=10) as connection:
            connection.sendall(beginning)
            said = connection.makefile("rb").read()
        assert said.count(b"HTTP/1.1 200 OK") == answers
        assert said.endswith(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def test_who_is_answered_slowly_is_not_hung_up_on(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.lag.high = False
    monkeypatch.setattr(load_shedding, "HEADERS_S", 0.5)
    with create_connection(("127.0.0.1", stand.port), timeout=10) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(1.0)
        stand.held.set()
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")


def test_many_connections_are_accepted_at_a_time(stand: Stand) -> None:
    assert len(stand.server.servers) == ACCEPTED_A_TURN
    assert len({sock.getsockname() for server in stand.server.servers for sock in server.sockets}) == 1
