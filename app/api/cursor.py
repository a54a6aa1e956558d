"""Opaque page cursors: a position as URL-safe base64."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from app.errors import InvalidRequest

SIZE = 6
"""Bytes of a position; a multiple of three, so that a position has exactly one encoding and no padding."""
PATTERN = re.compile(rf"[A-Za-z0-9_-]{{{SIZE * 4 // 3}}}")


def encode_cursor(position: int) -> str:
    return urlsafe_b64encode(position.to_bytes(SIZE, "big")).decode()


def decode_cursor(cursor: str) -> int:
    """Return the position of a cursor. Raises `InvalidRequest` for text that is not a cursor."""
    if not PATTERN.fullmatch(cursor):
        problem = "must be the `next` of an earlier page"
        raise InvalidRequest(f"cursor {problem}", fields=[("cursor", problem)])
    return int.from_bytes(urlsafe_b64decode(cursor), "big")
