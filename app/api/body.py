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


async def read_json(request: Request) -> Any:
    """The body's JSON value. Raises what is wrong with the body; no key may stand twice in one object."""
    _require_json(request.headers.get("content-type", ""))
    body = await _read(request)
    try:
        return jiter.from_json(body, allow_inf_nan=True, catch_duplicate_keys=True)
    except ValueError as error:
        raise InvalidRequest(f"the body is not valid JSON: {str(error)[:_QUOTED]}") from None


def _require_json(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.replace(" ", "").replace('"', "").casefold()
    if kind.strip().casefold() != "application/json" or charset not in ("", "charset=utf-8"):
        raise UnsupportedMediaType("Content-Type must be application/json, in UTF-8")


async def _read(request: Request) -> bytes:
    """The whole body; refused as soon as it is, or says it will be, larger than `MAX_BYTES`."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BYTES:
        raise TooLarge(f"the body must be at most {MAX_BYTES} bytes")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise TooLarge(f"the body must be at most {MAX_BYTES} bytes")
    except ClientDisconnect:
        raise InvalidRequest("the body ended early") from None
    return bytes(body)
