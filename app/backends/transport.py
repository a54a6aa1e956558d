"""The protocol of transports, which carry a backend's requests to its servers: HTTP, or SageMaker's wrapping of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

MODEL_LIST_MAX_BYTES = 1 << 20


class Content(Protocol):
    """A response's body as it arrives. Raises aiohttp's errors."""

    async def readany(self) -> bytes:
        """Return the next bytes, empty at the end."""
        ...

    def at_eof(self) -> bool: ...


class Response(Protocol):
    """A server's response, its body not yet read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> Content: ...

    def close(self) -> None:
        """Close the connection if the body has not been read to its end."""
        ...


class Transport(Protocol):
    """A client by base address. Raises `CallFailed`, and aiohttp's errors, whose fields may hold a key."""

    async def models(self, url: str, proxy: str | None) -> Response:
        """Request the list of models."""
        ...

    async def chat(self, url: str, body: bytes, proxy: str | None, streamed: bool) -> Response:
        """Request a chat completion."""
        ...

    async def close(self) -> None: ...


async def read_body(response: Response, max_bytes: int) -> bytes:
    """Return the body, of a longer one about the first `max_bytes`, and close the response."""
    body = b""
    try:
        while len(body) < max_bytes and (piece := await response.content.readany()):
            body += piece
    finally:
        response.close()
    return body
