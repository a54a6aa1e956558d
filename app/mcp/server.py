"""The MCP server over standard input and output, or over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import SecretStr
from starlette.applications import Starlette

from app import __version__
from app.mcp.gateway import Gateway, open_gateway
from app.mcp.tools import INSTRUCTIONS, add_tools

HOST = "127.0.0.1"
PATH = "/mcp"
LOCAL_NAMES = (HOST, "localhost", "[::1]")
MAX_BODY = 256 * 1024
"""Bytes of a message: more than a request to the gateway may have."""


def mcp_server(url: str, own_key: SecretStr | None) -> MCPServer[Gateway]:
    """Return the server of a gateway's tools. `own_key` is used for clients without HTTP alone."""

    @asynccontextmanager
    async def lifespan(_: MCPServer[Gateway]) -> AsyncIterator[Gateway]:
        async with open_gateway(url, own_key) as gateway:
            yield gateway

    server = MCPServer("conviction", version=__version__, instructions=INSTRUCTIONS, lifespan=lifespan)
    add_tools(server)
    return server


def http_app(url: str, names: Sequence[str] = ()) -> Starlette:
    """Return the application at `/mcp`. It has no session: each request has its client's key, which is forwarded. A
    client that disconnects stops its call.

    Requests with a Host, or an Origin, of another name than this machine's and `names` are refused: another site's DNS
    may point to this machine.
    """
    hosts = [*LOCAL_NAMES, *names]
    security = TransportSecuritySettings(
        allowed_hosts=[form for name in hosts for form in (name, f"{name}:*")],
        allowed_origins=[
            f"{scheme}://{form}" for scheme in ("http", "https") for name in hosts for form in (name, f"{name}:*")
        ],
    )
    return mcp_server(url, None).streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        transport_security=security,
    )


def serve_http(url: str, port: int, names: Sequence[str]) -> None:
    """Serve on a port of this machine's loopback address until a signal stops it."""
    uvicorn.run(http_app(url, names), host=HOST, port=port, log_config=None, access_log=False, ws="none")
