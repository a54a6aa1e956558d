"""The page cursors of the decision log: a position and a digest of the query, as URL-safe base64."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import astuple
from hashlib import sha256

from pydantic_core import to_json

from app.decision_log.queries import Position, Selection
from app.errors import InvalidRequest

TIME, ID, DIGEST = 8, 16, 9
"""Bytes of the parts; together a multiple of three, so that a position has exactly one encoding and no padding."""
PREFIX = "rec_"
PATTERN = re.compile(rf"[A-Za-z0-9_-]{{{(TIME + ID + DIGEST) * 4 // 3}}}")


def encode_cursor(position: Position, selection: Selection) -> str:
    """Return the cursor of the page after a position."""
    place = position.at.to_bytes(TIME, "big", signed=True) + bytes.fromhex(position.id.removeprefix(PREFIX))
    return urlsafe_b64encode(place + _digest(selection)).decode()


def decode_cursor(cursor: str, selection: Selection) -> Position:
    """Return the position of a cursor. Raises `InvalidRequest` unless it is of the same selection."""
    content = urlsafe_b64decode(cursor) if PATTERN.fullmatch(cursor) else b""
    if not content or content[TIME + ID :] != _digest(selection):
        problem = "must be the `next` of an earlier page of the same query"
        raise InvalidRequest(f"cursor {problem}", fields=[("cursor", problem)])
    at = int.from_bytes(content[:TIME], "big", signed=True)
    return Position(at, PREFIX + content[TIME : TIME + ID].hex())


def _digest(selection: Selection) -> bytes:
    return sha256(to_json(astuple(selection))).digest()[:DIGEST]
