"""Reading a body: what it must be before its contents matter."""

from __future__ import annotations

from typing import Any

import jiter
from starlette.requests import ClientDisconnect, Request

from app.errors import InvalidRequest, TooLarge, UnsupportedMediaType

MAX_BYTES = 64 * 1024
"""Thirty times a request with every metric."""

_QUOTED = 200
"""Characters of the parser's words that are passed on: they may quote a key of the body."""


async def read_json(request: Request, most: int = MAX_BYTES) -> Any:
    """The body's JSON value, of at most so many bytes. Raises what is wrong with the body."""
    return parsed(await read_bytes(request, most))


def parsed(body: bytes) -> Any:
    """The JSON value of a body; `InvalidRequest` for none, or where a key stands twice in one object."""
    try:
        return jiter.from_json(body, allow_inf_nan=True, catch_duplicate_keys=True)
    except ValueError as error:
        raise InvalidRequest(f"the body is not valid JSON: {str(error)[:_QUOTED]}") from None


def _require_json(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.replace(" ", "").replace('"', "").casefold()
    if kind.strip().casefold() != "application/json" or charset not in ("", "charset=utf-8"):
        raise UnsupportedMediaType("Content-Type must be application/json, in UTF-8")


async def read_bytes(request: Request, most: int) -> bytes:
    """The whole body; refused unless it is said to be JSON, and as soon as it is, or says it will be, too large."""
    _require_json(request.headers.get("content-type", ""))
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > most:
        raise TooLarge(f"the body must be at most {most} bytes")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise TooLarge(f"the body must be at most {most} bytes")
    except ClientDisconnect:
        raise InvalidRequest("the body ended early") from None
    return bytes(body)
