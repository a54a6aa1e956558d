"""The page cursors of the decision log: a decision's time and id as a position."""

from __future__ import annotations

from dataclasses import astuple

from pydantic_core import to_json

from app.api import cursor as cursors
from app.decision_log.queries import Position, Selection

TIME, ID = 8, 16
"""Bytes of the parts."""
PREFIX = "rec_"
PATTERN = cursors.pattern(TIME + ID)


def encode_cursor(position: Position, selection: Selection) -> str:
    """Return the cursor of the page after a position."""
    place = position.at.to_bytes(TIME, "big", signed=True) + bytes.fromhex(position.id.removeprefix(PREFIX))
    return cursors.encode(place, _query(selection))


def decode_cursor(cursor: str, selection: Selection) -> Position:
    """Return the position of a cursor. Raises `InvalidRequest` unless it is of the same selection."""
    place = cursors.decode(cursor, _query(selection), PATTERN)
    return Position(int.from_bytes(place[:TIME], "big", signed=True), PREFIX + place[TIME:].hex())


def _query(selection: Selection) -> bytes:
    return to_json(astuple(selection))
