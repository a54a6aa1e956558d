"""The tools, called by the SDK's client over standard input and output and over HTTP, with a real gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.contract.fingerprint import EXAMPLE
from tests.conftest import served
from tests.mcp.conftest import Connect, KeyedGateway, over_http

Json = dict[str, Any]


async def answer(client: Client, tool: str, **arguments: Any) -> Json:
    """Return a successful result, which the text repeats."""
    result = await client.call_tool(tool, arguments)
    [text] = result.content
    assert not result.is_error, text
    document: Json = result.structured_content
    assert json.loads(text.text) == document  # type: ignore[union-attr]
    return document


async def error(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    [text] = result.content
    assert result.is_error
    return str(text.text)  # type: ignore[union-attr]


async def test_every_tool_answers(keyed: KeyedGateway, connect: Connect) -> None:
    async with connect(keyed.url, keyed.key) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {"recommend", "compare", "costs", "history"}
        assert "RSI_14" in json.dumps(tools["recommend"].input_schema)

        found = await answer(client, "recommend", ticker="aapl", as_of="2012-05-10")
        assert (found["ticker"], found["as_of"], found["backend"]) == ("AAPL", "2012-05-10", "mistral")
        assert found["analysis"] and found["action"] in ("buy", "sell", "hold")

        metrics = EXAMPLE.document()
        found = await answer(client, "recommend", metrics=metrics, detail="brief", backend="gpt-4")
        assert (found["backend"], found["metrics"], found["analysis"]) == ("gpt-4", metrics, None)

        found = await answer(client, "compare", ticker="AAPL", detail="brief")
        assert (found["agree"], found["stored"], found["sides"].keys()) == (True, True, {"mistral", "gpt-4"})

        assert (await answer(client, "costs"))["use"].keys() == {"mistral", "gpt-4"}


async def test_a_wrong_key_is_refused_and_not_shown(keyed: KeyedGateway, connect: Connect) -> None:
    wrong = f"{keyed.key[:-1]}x"
    async with connect(keyed.url, wrong) as client:
        text = await error(client, "recommend", ticker="AAPL")
    assert "unauthorized" in text
    assert wrong not in text


async def test_a_limit_states_when_to_retry(open_keyed: Callable[..., KeyedGateway], connect: Connect) -> None:
    limited = open_keyed(key_requests_per_minute=1)
    async with connect(limited.url, limited.key) as client:
        await answer(client, "recommend", metrics=EXAMPLE.document(), detail="brief")
        text = await error(client, "recommend", metrics=EXAMPLE.document(), detail="brief")
    assert "rate_limited" in text
    assert "; retry after " in text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "ticker or metrics is required"),
        ({"ticker": "no ticker!"}, "ticker"),
        ({"ticker": "AAPL", "detail": "long"}, "detail"),
        ({"ticker": "AAPL", "as_of": "10 May"}, "as_of"),
        ({"ticker": "AAPL", "as_of": "1912-05-10"}, "as_of must be from"),
        ({"metrics": {"price": 1}}, "metrics"),
        ({"metrics": {"price": 9, "technicals": {"RSI_14": 400, "SMA_50": 9}}}, "RSI_14"),
        ({"ticker": "NOPE"}, "unknown_ticker"),
    ],
)
async def test_bad_arguments_are_named(keyed: KeyedGateway, arguments: Mapping[str, Any], named: str) -> None:
    async with over_http(keyed.url, keyed.key) as client:
        assert named in await error(client, "recommend", **arguments)


async def test_bad_arguments_over_stdio(keyed: KeyedGateway, connect: Connect) -> None:
    async with connect(keyed.url, keyed.key) as client:
        assert "detail" in await error(client, "recommend", ticker="AAPL", detail="long")
        try:
            text = await error(client, "sell_everything")
        except MCPError as refused:
            text = str(refused)
        assert "sell_everything" in text
        await answer(client, "costs")


async def test_without_a_gateway_the_error_names_its_url(connect: Connect) -> None:
    async with connect("http://127.0.0.1:9") as client:
        assert "no gateway answers at http://127.0.0.1:9" in await error(client, "costs")


async def test_the_history_has_the_answers_that_the_key_received(
    open_keyed: Callable[..., KeyedGateway], connect: Connect, tmp_path: Path
) -> None:
    logging = open_keyed(store_dir=tmp_path / "store")
    async with connect(logging.url, logging.key) as client:
        given = await answer(client, "recommend", ticker="AAPL", detail="brief")
        await answer(client, "recommend", ticker="IBM", detail="brief")
        page: Json = {"recommendations": []}
        async with asyncio.timeout(60):
            while not page["recommendations"]:  # an entry is written after its answer
                page = await answer(client, "history", ticker="aapl", limit=5)
    [entry] = page["recommendations"]
    assert (entry["recommendation"]["id"], page["next"]) == (given["id"], None)


async def test_a_log_that_is_off_is_an_error(open_keyed: Callable[..., KeyedGateway]) -> None:
    without = open_keyed(decision_log="off")
    async with over_http(without.url, without.key) as client:
        assert "the decision log is off" in await error(client, "history", ticker="AAPL")


# A double of the gateway: an earlier version, and what is sent to it


@contextmanager
def log_of(status: int, document: Json) -> Iterator[tuple[str, list[Mapping[str, str]]]]:
    asked: list[Mapping[str, str]] = []

    def respond(request: Request) -> JSONResponse:
        asked.append({**request.query_params, "key": request.headers.get("authorization", "")})
        return JSONResponse(document, status)

    with served(Starlette(routes=[Route("/v1/recommendations", respond)])) as url:
        yield url, asked


async def test_the_history_is_a_page_of_the_log() -> None:
    with log_of(200, {"recommendations": [], "next": None}) as (url, asked):
        async with over_http(url, "one-key") as client:
            assert await answer(client, "history", ticker="AAPL", limit=3) == {"recommendations": [], "next": None}
            assert "limit" in await error(client, "history", ticker="AAPL", limit=0)
    assert asked == [{"ticker": "AAPL", "limit": "3", "key": "Bearer one-key"}]


@pytest.mark.parametrize("code", ["not_found", "method_not_allowed"])
async def test_an_earlier_gateway_without_a_log_keeps_no_history(code: str) -> None:
    with log_of(404, {"title": "Not found", "code": code, "detail": "no resource has this path"}) as (url, _):
        async with over_http(url) as client:
            assert "this gateway keeps no history" in await error(client, "history", ticker="AAPL")
