"""The choice of the server for a call."""

from __future__ import annotations

import pytest

from app.backends.circuit_breaker import MAX_CONSECUTIVE_FAILURES
from app.backends.endpoints import Endpoint, breakers_open, choose_endpoint


@pytest.fixture
def three() -> list[Endpoint]:
    return [Endpoint(f"http://127.0.0.1:{port}/v1") for port in (1, 2, 3)]


def fail(endpoint: Endpoint, times: int = 1) -> None:
    for _ in range(times):
        endpoint.release(endpoint.acquire(), healthy=False)


def test_the_endpoint_with_fewest_calls_is_chosen(three: list[Endpoint]) -> None:
    for endpoint in three[:2]:
        endpoint.acquire()
    assert choose_endpoint(three) is three[2]
    three[0].release(probe=False, healthy=None)
    assert choose_endpoint(three) is three[0]


def test_an_endpoint_that_failed_comes_last(three: list[Endpoint]) -> None:
    three[0].deprioritize()
    for endpoint in (three[1], three[2], three[2]):
        endpoint.acquire()
    assert choose_endpoint(three) is three[1]
    three[0].mark_healthy()
    assert choose_endpoint(three) is three[0]


def test_a_tried_endpoint_comes_last(three: list[Endpoint]) -> None:
    three[2].acquire()
    assert choose_endpoint(three, tried=three[:2]) is three[2]
    three[2].acquire()
    assert choose_endpoint(three, tried=three[:2]) is three[2]
    assert choose_endpoint(three, tried=three) is three[0]


def test_no_endpoint_with_an_open_breaker_is_chosen(three: list[Endpoint]) -> None:
    fail(three[0], MAX_CONSECUTIVE_FAILURES)
    for _ in range(9):
        three[1].acquire()
        three[2].acquire()
    assert choose_endpoint(three) is three[1]
    fail(three[1], MAX_CONSECUTIVE_FAILURES)
    fail(three[2], MAX_CONSECUTIVE_FAILURES)
    assert choose_endpoint(three) is None
    wait = breakers_open("mistral", three).error.retry_after
    assert wait is not None
    assert 0 < wait <= three[0].breaker.retry_in() + 0.1


def test_a_success_proves_health_and_an_unknown_result_does_not(three: list[Endpoint]) -> None:
    three[0].release(three[0].acquire(), healthy=True)
    three[1].release(three[1].acquire(), healthy=None)
    assert three[0].healthy_until > three[1].healthy_until
    assert [endpoint.outstanding for endpoint in three] == [0, 0, 0]


def test_a_proxy_s_password_is_in_no_repr() -> None:
    assert "secret" not in repr(Endpoint("http://127.0.0.1:1/v1", proxy="http://user:secret@proxy:3128"))
