"""Where a page ends, as a client hands it back: sealed, so that what was not given here is refused."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from app.errors import InvalidRequest

PLACE, SEAL = 8, 13
"""Bytes; together a multiple of three, so that each cursor is written in one way alone."""
FORM = re.compile(rf"[A-Za-z0-9_-]{{{(PLACE + SEAL) * 4 // 3}}}")
PURPOSE = b"comparisons"


def sealed(place: int, secret: bytes) -> str:
    """The cursor of a place."""
    packed = place.to_bytes(PLACE, "big")
    return urlsafe_b64encode(packed + _seal(packed, secret)).decode()


def opened(cursor: str, secret: bytes) -> int:
    """The place of a cursor; `InvalidRequest` for one that was not sealed with the secret."""
    if FORM.fullmatch(cursor):
        content = urlsafe_b64decode(cursor)
        packed, seal = content[:PLACE], content[PLACE:]
        if hmac.compare_digest(seal, _seal(packed, secret)):
            return int.from_bytes(packed, "big")
    wrong = "must be the next of an earlier page, unchanged"
    raise InvalidRequest(f"cursor {wrong}", fields=[("cursor", wrong)])


def _seal(packed: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, PURPOSE + packed, "sha256")[:SEAL]
