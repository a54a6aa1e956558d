"""Reading a request body: its media type, size and JSON syntax."""

from __future__ import annotations

from typing import Any

import jiter
from starlette.requests import ClientDisconnect, Request

from app.deadline import Deadline
from app.errors import InvalidRequest, TooLarge, UnsupportedMediaType

MAX_BYTES = 64 * 1024
"""Thirty times the size of a request with every metric."""

_MAX_DETAIL = 200
"""Characters of the parser's message that are sent to the client: it may quote a key of the body."""


async def read_json(request: Request, max_bytes: int = MAX_BYTES, deadline: Deadline | None = None) -> Any:
    """Return the JSON value of the body. Raises the errors of `read_bytes` and `parse_json`."""
    return parse_json(await read_bytes(request, max_bytes, deadline))


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body. Raises `InvalidRequest`, also for a duplicate key in an object."""
    try:
        return jiter.from_json(body, allow_inf_nan=True, catch_duplicate_keys=True)
    except ValueError as error:
        raise InvalidRequest(f"the body is not valid JSON: {str(error)[:_MAX_DETAIL]}") from None


async def read_bytes(request: Request, max_bytes: int, deadline: Deadline | None = None) -> bytes:
    """Return the whole body.

    Raises `DeadlineExceeded` if it has not arrived by then, `UnsupportedMediaType` unless the Content-Type is JSON,
    `TooLarge` as soon as the announced or received size exceeds the limit, and `InvalidRequest` for an incomplete body.
    """
    _require_json(request.headers.get("content-type", ""))
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise TooLarge(f"the body must be at most {max_bytes} bytes")
    if deadline is not None:
        async with deadline.limit(f"the body did not arrive within {deadline.seconds:g} s"):
            return await _receive(request, max_bytes)
    return await _receive(request, max_bytes)


async def _receive(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise TooLarge(f"the body must be at most {max_bytes} bytes")
    except ClientDisconnect:
        raise InvalidRequest("the body ended early") from None
    return bytes(body)


def _require_json(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.replace(" ", "").replace('"', "").casefold()
    if kind.strip().casefold() != "application/json" or charset not in ("", "charset=utf-8"):
        raise UnsupportedMediaType("Content-Type must be application/json, in UTF-8")
