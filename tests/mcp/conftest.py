"""A gateway with keys, and MCP clients of the SDK over both transports."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from app.main import create_app
from app.mcp.server import PATH, http_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

ROOT = Path(__file__).parents[2]
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@dataclass(frozen=True)
class KeyedGateway:
    url: str
    key: str


@pytest.fixture
def open_keyed(store_url: str, tmp_path: Path, patient_gateway: None) -> Iterator[Callable[..., KeyedGateway]]:
    """Return a function that starts a gateway with one key and further settings."""
    with ExitStack() as stack:

        def opened(**settings: object) -> KeyedGateway:
            key = f"key-{uuid4().hex}"
            file = tmp_path / key
            file.write_text(f"desk-{key[-8:]}:{key}")
            file.chmod(0o600)
            given = {"market": "sample", "api_keys_file": file, "cache_s": 0, **settings}
            backends = {"mistral": CountingBackend("mistral"), "gpt-4": CountingBackend("gpt-4")}
            app = create_app(Settings.model_validate(given), opened_with(f"{store_url}?db=4", backends))  # type: ignore[arg-type]
            return KeyedGateway(stack.enter_context(served(app, lifespan="on")), key)

        yield opened


@pytest.fixture
def keyed(open_keyed: Callable[..., KeyedGateway]) -> KeyedGateway:
    return open_keyed()


@pytest.fixture(params=["stdio", "http"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return a function that connects a client to the MCP server of a gateway's URL, with a key or without."""
    return over_stdio if request.param == "stdio" else over_http


@asynccontextmanager
async def over_stdio(url: str, key: str | None = None) -> AsyncIterator[Client]:
    environment = {
        "CONVICTION_URL": url,
        "CONVICTION_API_KEY": key or "",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    inherited = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "app.cli", "mcp"], env=inherited | environment, cwd=ROOT
    )
    async with Client(server) as client:
        yield client


@asynccontextmanager
async def over_http(url: str, key: str | None = None) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with served(http_app(url), lifespan="on") as origin:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{origin}{PATH}", http_client=http)) as client,
        ):
            yield client
