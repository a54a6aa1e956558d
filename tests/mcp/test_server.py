"""The server: the key that it sends, the hosts and origins that it answers, and calls that their client stops."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from app.mcp.server import MAX_BODY, PATH, http_app
from tests.conftest import served
from tests.mcp.conftest import Connect, KeyedGateway, over_http

MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


async def test_its_own_key_is_not_sent_for_clients(keyed: KeyedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVICTION_API_KEY", keyed.key)
    async with over_http(keyed.url) as client:
        result = await client.call_tool("costs", {})
    assert result.is_error
    assert "unauthorized" in str(result.content)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "mcp.example"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://mcp.example"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_another_host_or_origin_is_refused(headers: dict[str, str], status: int) -> None:
    with served(http_app("http://127.0.0.1:9", ["mcp.example"]), lifespan="on") as origin:
        assert httpx2.post(f"{origin}{PATH}", json=MESSAGE, headers=HEADERS | headers).status_code == status


def test_a_large_message_is_refused() -> None:
    with served(http_app("http://127.0.0.1:9"), lifespan="on") as origin:
        message = MESSAGE | {"params": "x" * MAX_BODY}
        assert httpx2.post(f"{origin}{PATH}", json=message, headers=HEADERS).status_code == 413


async def test_a_stopped_call_closes_its_request(connect: Connect) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        closed.set()
        writer.close()

    async with await asyncio.start_server(wait_for_end, "127.0.0.1", 0) as gateway:
        host, port = gateway.sockets[0].getsockname()
        async with connect(f"http://{host}:{port}") as client:
            call = asyncio.create_task(client.call_tool("costs", {}))
            async with asyncio.timeout(60):
                await asked.wait()
                call.cancel()
                await closed.wait()
