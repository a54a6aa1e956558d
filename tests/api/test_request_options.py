"""The options in a request's headers: timeout and caching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request

from app.api.request_options import request_options
from app.auth.principal import local_principal
from app.completions.request import RequestOptions
from app.errors import InvalidRequest
from app.pricing.limits import Limits
from app.settings.gateway import Settings
from tests.api.test_bad_input import assert_problem
from tests.doubles import Gateway, ask

PRINCIPAL = local_principal(Limits())
SETTINGS = Settings(backend_timeout_s=60)


def options(*headers: tuple[str, str]) -> RequestOptions:
    raw = [(name.lower().encode(), text.encode()) for name, text in headers]
    return request_options(Request({"type": "http", "headers": raw, "state": {"principal": PRINCIPAL}}), SETTINGS)


def test_without_headers_the_defaults_apply() -> None:
    given = options()
    assert (given.principal, given.fresh, given.alone) == (PRINCIPAL, False, False)
    assert given.deadline.seconds == 60
    assert 59 < given.deadline.left() <= 60


@pytest.mark.parametrize(
    ("given", "seconds"), [("1", 0.001), ("1500", 1.5), ("0001500", 1.5), ("60000", 60), ("60001", 60), ("9" * 30, 60)]
)
def test_a_client_s_timeout_is_capped_by_the_settings(given: str, seconds: float) -> None:
    assert options(("X-Timeout-Ms", given)).deadline.seconds == seconds


@pytest.mark.parametrize("given", ["", "0", "00", "-5", "+5", "1.5", "1e3", "5 s", "\u0663", "0x10", "NaN"])
def test_an_invalid_timeout_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match="X-Timeout-Ms must be a whole number of milliseconds"):
        options(("X-Timeout-Ms", given))


@pytest.mark.parametrize(
    ("given", "fresh", "alone"),
    [
        (["no-cache"], True, False),
        (["No-Cache"], True, False),
        (["max-age=0"], True, False),
        (["max-age=10"], False, False),
        (["no-store"], False, True),
        (["max-age=10 , no-store,no-cache"], True, True),
        (["max-age=10", "no-store"], False, True),
        (["no-cachex, xno-store"], False, False),
        ([""], False, False),
    ],
)
def test_cache_control_sets_the_options(given: list[str], fresh: bool, alone: bool) -> None:
    given_options = options(*(("Cache-Control", text) for text in given))
    assert (given_options.fresh, given_options.alone) == (fresh, alone)


async def test_it_is_refused_as_a_problem_before_anything_is_asked(running: Gateway) -> None:
    for body in (None, {"ticker": "AAPL", "stream": True}):
        assert_problem(await ask(running, body, X_Timeout_Ms="soon"), 422, "invalid_request", "X-Timeout-Ms")
    assert running.asked == 0


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/recommendations/batch", "/v1/comparisons"])
async def test_the_deadline_includes_the_arrival_of_the_body(running: Gateway, path: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    headers = {"Content-Type": "application/json", "X-Timeout-Ms": "200"}
    response = await running.client.post(path, content=body(), headers=headers)
    assert_problem(response, 504, "deadline_exceeded", "body")


async def test_the_deadline_of_a_chat_includes_the_arrival_of_the_body(running: Gateway) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    headers = {"Content-Type": "application/json", "X-Timeout-Ms": "200"}
    response = await running.client.post("/v1/chat/completions", content=body(), headers=headers)
    assert response.status_code == 504
