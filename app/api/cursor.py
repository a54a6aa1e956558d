"""Opaque page cursors: a position and a digest of the query that it belongs to, as URL-safe base64."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from app.errors import InvalidRequest

SIZE = 6
"""Bytes of a position and of a digest; a multiple of three, so that a cursor has one encoding and no padding."""
PATTERN = re.compile(rf"[A-Za-z0-9_-]{{{2 * SIZE * 4 // 3}}}")


def encode_cursor(position: int, query: str) -> str:
    """Return the cursor of a position among the results of a query."""
    return urlsafe_b64encode(position.to_bytes(SIZE, "big") + _digest(query)).decode()


def decode_cursor(cursor: str, query: str) -> int:
    """Return the position of a cursor. Raises `InvalidRequest` for text that is no cursor, or one of another query."""
    if not PATTERN.fullmatch(cursor):
        raise _invalid("must be the `next` of an earlier page")
    content = urlsafe_b64decode(cursor)
    if content[SIZE:] != _digest(query):
        raise _invalid("must be the `next` of a page with the same parameters; only `limit` may change")
    return int.from_bytes(content[:SIZE], "big")


def _digest(query: str) -> bytes:
    return sha256(query.encode()).digest()[:SIZE]


def _invalid(problem: str) -> InvalidRequest:
    return InvalidRequest(f"cursor {problem}", fields=[("cursor", problem)])
