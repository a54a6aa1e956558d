"""The gateway sends requests only to the servers in its settings; no client or server can redirect it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import EXAMPLE_BODY, Gateway, ask
from tests.threats.conftest import started

KEY = "sk-threats-0123456789abcdef"
ADDRESSES = {"url", "urls", "uri", "href", "host", "endpoint", "callback", "webhook", "proxy"}
"""Words in the names of fields that contain addresses."""


@dataclass
class Trap:
    """A server that must not be called. It records the credentials that it receives."""

    received: list[str] = field(default_factory=list)

    async def __call__(self, request: Request) -> Response:
        self.received.append(request.headers.get("authorization", ""))
        return Response(status_code=200)


@pytest.fixture
def trap() -> Iterator[tuple[Trap, str]]:
    trap = Trap()
    route = Route("/{path:path}", trap.__call__, methods=["GET", "POST"])
    with served(Starlette(routes=[route])) as origin:
        yield trap, origin


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_server_that_sends_elsewhere_is_not_followed_and_no_key_goes_there(
    tmp_path: Path, trap: tuple[Trap, str], status: int
) -> None:
    caught, elsewhere = trap

    async def redirect(_: Request) -> Response:
        return RedirectResponse(f"{elsewhere}/v1/chat/completions", status)

    route = Route("/{path:path}", redirect, methods=["GET", "POST"])
    with served(Starlette(routes=[route])) as upstream:
        environment = {"OPENAI_BASE_URL": f"{upstream}/v1", "OPENAI_API_KEY": KEY}
        with started(tmp_path, CONVICTION_DEFAULT_BACKEND="gpt-4", **environment) as gateway:
            answered, body = gateway.ask("POST", "/v1/recommendations", EXAMPLE_BODY)
    assert answered in (502, 503)
    assert KEY.encode() not in body
    assert elsewhere.encode() not in body
    assert caught.received == []


def test_no_field_of_a_request_is_an_address() -> None:
    """Of the fields that the gateway reads; the others of a chat completion are validated by the backend."""
    document = create_app(Settings()).openapi()
    operations = [each for path in document["paths"].values() for each in path.values()]
    bodies = [each["requestBody"] for each in operations if "requestBody" in each]
    assert bodies
    names = {name.lower() for schema in _objects([bodies, document["components"]["schemas"]]) for name in schema}
    assert {"ticker", "metrics", "messages"} <= names
    assert not {name for name in names if ADDRESSES & set(name.split("_"))}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the properties of every schema in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict):
            yield value["properties"]
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Host": "evil.example"},
        {"X-Original-URL": "/v1/keys", "X-Rewrite-URL": "/v1/keys"},
    ],
)
async def test_what_a_proxy_would_say_changes_nothing(running: Gateway, headers: dict[str, str]) -> None:
    response = await ask(running, **headers)
    assert response.status_code == (403 if "Host" in headers else 200)
    assert "evil.example" not in response.text
    assert "evil.example" not in str(response.headers)
