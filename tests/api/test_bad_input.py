"""What is refused: a problem document that names the field and its bounds, and no backend is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.contract.fingerprint import EXAMPLE
from tests.doubles import EXAMPLE_BODY, Gateway

PATH = "/v1/recommendations"
JSON = {"Content-Type": "application/json"}


def altered(group: str | None = None, **changes: object) -> bytes:
    """The SNPS example with some metrics changed."""
    metrics: dict[str, Any] = EXAMPLE.document()
    (metrics[group] if group else metrics).update(changes)
    return json.dumps({"ticker": "SNPS", "metrics": metrics}).encode()


def body(**document: object) -> bytes:
    return json.dumps(document).encode()


NAN = altered("technicals").replace(b"59.44", b"NaN")
RSI = "RSI_14 must be a finite number from 0 to 100"

CASES: dict[str, tuple[bytes, int, str, tuple[str, ...]]] = {
    "malformed": (b'{"ticker": "SNPS"', 422, "invalid_request", ("not valid JSON", "line 1")),
    "empty": (b"", 422, "invalid_request", ("not valid JSON",)),
    "not UTF-8": (b'{"ticker": "\xff"}', 422, "invalid_request", ("not valid JSON",)),
    "deep": (b"[" * 50_000, 422, "invalid_request", ("recursion limit",)),
    "no object": (b'["SNPS"]', 422, "invalid_request", ("the body must be a JSON object",)),
    "both missing": (b"{}", 422, "invalid_request", ("ticker or metrics is required",)),
    "both null": (body(ticker=None, metrics=None), 422, "invalid_request", ("ticker or metrics is required",)),
    "a key twice": (b'{"ticker": "A", "ticker": "B"}', 422, "invalid_request", ('duplicate key "ticker"',)),
    "two metrics": (
        body(metrics={"price": 10, "technicals": {"RSI_14": 50}}),
        422,
        "invalid_metrics",
        ("metrics", "at least 3", "2 given"),
    ),
    "unknown key": (body(ticker="SNPS", tickr="X"), 422, "invalid_request", ("tickr is not known",)),
    "unknown metric": (altered("technicals", RSI_15=50), 422, "invalid_metrics", ("RSI_15 is not known",)),
    "unknown group": (altered(fundamentals={}), 422, "invalid_metrics", ("metrics.fundamentals is not known",)),
    "NaN": (NAN, 422, "invalid_metrics", (RSI,)),
    "infinity": (NAN.replace(b"NaN", b"1e999"), 422, "invalid_metrics", (RSI,)),
    "RSI 140": (altered("technicals", RSI_14=140), 422, "invalid_metrics", (RSI,)),
    "RSI in words": (altered("technicals", RSI_14="59"), 422, "invalid_metrics", (RSI,)),
    "two wrong": (altered("technicals", RSI_14=140, ADX_14=-1), 422, "invalid_metrics", (RSI, "ADX_14")),
    "negative IV": (
        altered("options", call_iv_avg=-1, iv_skew=None),
        422,
        "invalid_metrics",
        ("metrics.options.call_iv_avg must be a finite number from 0 to 1,000",),
    ),
    "half a contract": (
        altered("options", call_volume=2.5),
        422,
        "invalid_metrics",
        ("call_volume must be a whole number from 0 to 10,000,000,000",),
    ),
    "free stock": (
        altered(price=0),
        422,
        "invalid_metrics",
        ("metrics.price must be a finite number above 0, up to 10,000,000",),
    ),
    "contradicting ratio": (
        altered("options", put_call_ratio=3.0),
        422,
        "invalid_metrics",
        ("metrics.options", "put_call_ratio is 3", "put_volume / call_volume is 7.26"),
    ),
    "contradicting skew": (altered("options", iv_skew=10.92), 422, "invalid_metrics", ("iv_skew is 10.92",)),
    "slash": (body(ticker="BRK/B"), 422, "invalid_request", ("ticker must be", "1 to 10")),
    "40 characters": (body(ticker="A" * 40), 422, "invalid_request", ("ticker must be", "1 to 10")),
    "empty ticker": (body(ticker=""), 422, "invalid_request", ("ticker must be",)),
    "no ticker": (body(ticker=5), 422, "invalid_request", ("ticker must be a string",)),
    "unknown detail": (body(ticker="A", detail="long"), 422, "invalid_request", ("detail", "'full' or 'brief'")),
    "stream in words": (body(ticker="A", stream="no"), 422, "invalid_request", ("stream must be true or false",)),
    "no date": (body(ticker="A", as_of="8 March"), 422, "invalid_request", ("as_of must be a date such as",)),
    "timestamp": (body(ticker="A", as_of=1709856000), 422, "invalid_request", ("as_of must be a date such as",)),
    "before all": (body(ticker="A", as_of="0001-01-01"), 422, "invalid_request", ("as_of must be from 1970-01-01",)),
    "in the future": (body(ticker="A", as_of="2999-01-01"), 422, "invalid_request", ("as_of must be from",)),
    "two dates": (
        body(**EXAMPLE_BODY, as_of="2024-03-08"),
        422,
        "invalid_request",
        ("as_of requires a ticker without metrics",),
    ),
    "many unknown": (
        body(ticker="A", **{f"key{number}": 1 for number in range(50)}),
        422,
        "invalid_request",
        ("key0 is not known", "and 30 more"),
    ),
    "a long name": (body(ticker="A", **{"x" * 5000: 1}), 422, "invalid_request", ("xxxx is not known",)),
}


def assert_problem(response: httpx.Response, status: int, code: str, *said: str) -> dict[str, Any]:
    """A problem document of RFC 9457 that says all of it, and nothing of our insides."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == response.headers["x-request-id"]
    for words in said:
        assert words in problem["detail"]
    assert len(response.content) < 8_000
    assert not any(word in response.text for word in ("Traceback", "site-packages", ".py", "/work", "pydantic"))
    return problem


@pytest.mark.parametrize(("content", "status", "code", "said"), CASES.values(), ids=list(CASES))
async def test_a_bad_body_is_refused(
    running: Gateway, content: bytes, status: int, code: str, said: tuple[str, ...]
) -> None:
    response = await running.client.post(PATH, content=content, headers=JSON)
    problem = assert_problem(response, status, code, *said)
    assert running.asked == 0
    if not problem["detail"].startswith("the body is not valid"):
        assert all(set(error) == {"field", "problem"} for error in problem["errors"])
    labels = {"backend": "mistral", "detail": "unknown", "outcome": code}
    assert running.sample("conviction_requests_total", **labels) == 1


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_another_content_type_is_refused(running: Gateway, content_type: str) -> None:
    content = body(**EXAMPLE_BODY)
    response = await running.client.post(PATH, content=content, headers={"Content-Type": content_type})
    assert_problem(response, 415, "unsupported_media_type", "application/json")
    assert running.asked == 0


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON ; charset=UTF-8"])
async def test_json_is_taken_however_it_is_written(running: Gateway, content_type: str) -> None:
    content = body(**EXAMPLE_BODY)
    response = await running.client.post(PATH, content=content, headers={"Content-Type": content_type})
    assert response.status_code == 200


async def test_ten_megabytes_are_refused_unread(running: Gateway) -> None:
    response = await running.client.post(PATH, content=b" " * 10_000_000, headers=JSON)
    assert_problem(response, 413, "too_large", "65536 bytes")
    assert running.asked == 0


async def test_a_body_that_hides_its_length_is_cut_short(running: Gateway) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    response = await running.client.post(PATH, content=chunks(), headers=JSON)
    assert_problem(response, 413, "too_large", "65536 bytes")
    assert sent < 100_000
    assert running.asked == 0


@pytest.mark.parametrize("name", ["gpt-5", "", "mistral, gpt-4", "mistral gpt-4"])
async def test_an_unknown_backend_is_refused(running: Gateway, name: str) -> None:
    response = await running.client.post(PATH, json=EXAMPLE_BODY, headers={"X-Backend": name})
    assert_problem(response, 400, "unknown_backend", "mistral", "gpt-4")
    assert running.asked == 0


async def test_two_backends_at_once_are_refused(running: Gateway) -> None:
    headers = [("X-Backend", "mistral"), ("X-Backend", "gpt-4")]
    response = await running.client.post(PATH, json=EXAMPLE_BODY, headers=headers)
    assert_problem(response, 400, "unknown_backend")
    assert running.asked == 0


async def test_an_unknown_ticker_is_refused(running: Gateway) -> None:
    response = await running.client.post(PATH, json={"ticker": "NOPE"})
    assert_problem(response, 404, "unknown_ticker", "NOPE")
    assert running.asked == 0


async def test_other_paths_and_methods_are_problems_too(running: Gateway) -> None:
    assert_problem(await running.client.get("/v1/nothing"), 404, "not_found")
    assert_problem(await running.client.get("/v1/backends/"), 404, "not_found")
    response = await running.client.get(f"{PATH}/batch")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
