"""What carries a backend's requests to its servers: HTTP as it is (`session`), or another's protocol around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

LISTING_MAX = 1 << 20
"""Bytes of a list of models that are read."""


class Content(Protocol):
    """A response's body as it comes. Raises aiohttp's errors."""

    async def readany(self) -> bytes:
        """The next bytes, none after the last."""
        ...

    def at_eof(self) -> bool: ...


class Response(Protocol):
    """What a server answers, its body still to be read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> Content: ...

    def close(self) -> None:
        """Hang up, where the body has not come to its end."""
        ...


class Origin(Protocol):
    """Asks a server by its base address. Raises aiohttp's errors, whose fields may hold a key, and `CallFailed`."""

    async def models(self, url: str, proxy: str | None) -> Response:
        """Which models it serves."""
        ...

    async def chat(self, url: str, body: bytes, proxy: str | None, streamed: bool) -> Response:
        """A chat completion."""
        ...

    async def close(self) -> None: ...


async def read(response: Response, most: int) -> bytes:
    """The body, or the beginning of one longer than so many bytes; the response is closed."""
    document = b""
    try:
        while len(document) < most and (piece := await response.content.readany()):
            document += piece
    finally:
        response.close()
    return document
