from __future__ import annotations

import asyncio
import socket
from io import StringIO

import pytest

from app.settings.gateway import Settings
from app.supervisor import gateway
from app.supervisor.screen import Screen
from tests.conftest import served


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
    ],
)
def test_the_address_for_this_machine(host: str, url: str) -> None:
    settings = Settings.model_construct(host=host, port=8080)
    assert gateway.address(settings) == url


def test_a_closed_port_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert gateway.readiness(f"http://127.0.0.1:{port}") == {}


async def test_readiness_is_polled_until_it_is_reported() -> None:
    component = b'{"ready": false, "components": {"store": {"ready": false, "reason": "the store cannot be reached"}}}'
    answers = [(503, component), (503, component), (200, b'{"ready": true, "components": {}}')]

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        status, body = answers.pop(0)
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    output = StringIO()
    with served(app) as url:
        async with asyncio.timeout(10):
            await gateway.wait_until_ready(url, Screen(output))
    assert not answers
    assert output.getvalue().endswith("gateway is starting: done in 0 s\n")
