"""Opaque page cursors: a position and a digest of the query that it belongs to, as URL-safe base64."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from app.errors import InvalidRequest

SIZE = 6
"""Bytes of a digest, and of the position of a pair. Positions have a multiple of three bytes, so that a cursor has one
encoding and no padding."""


def pattern(size: int) -> re.Pattern[str]:
    """Return the pattern of the cursors of positions of this many bytes."""
    return re.compile(rf"[A-Za-z0-9_-]{{{(size + SIZE) * 4 // 3}}}")


PATTERN = pattern(SIZE)


def encode_cursor(position: int, query: str) -> str:
    """Return the cursor of a position among the results of a query."""
    return encode(position.to_bytes(SIZE, "big"), query.encode())


def decode_cursor(cursor: str, query: str) -> int:
    """Return the position of a cursor. Raises `InvalidRequest` for text that is no cursor, or one of another query."""
    return int.from_bytes(decode(cursor, query.encode(), PATTERN), "big")


def encode(position: bytes, query: bytes) -> str:
    """Return the cursor of a position."""
    return urlsafe_b64encode(position + _digest(query)).decode()


def decode(cursor: str, query: bytes, form: re.Pattern[str]) -> bytes:
    """Return the position of a cursor of this form. Raises as `decode_cursor` does."""
    if not form.fullmatch(cursor):
        raise _invalid("must be the `next` of an earlier page")
    content = urlsafe_b64decode(cursor)
    if content[-SIZE:] != _digest(query):
        raise _invalid(
            "must be the `next` of a page of the same query, with the same parameters; only `limit` may change"
        )
    return content[:-SIZE]


def _digest(query: bytes) -> bytes:
    return sha256(query).digest()[:SIZE]


def _invalid(problem: str) -> InvalidRequest:
    return InvalidRequest(f"cursor {problem}", fields=[("cursor", problem)])
