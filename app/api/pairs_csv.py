"""Stored pairs as CSV, a pair per line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from app.api.csv_text import csv_text
from app.api.pair_schemas import KeptPair, KeptSide
from app.comparison.pairs import Pair
from app.comparison.records import Sides
from app.contract.recommendation import ACTIONS

PAGE = 100
"""Pairs per part of the stream, so that no part occupies the event loop for long."""
PAIR_COLUMNS = tuple(field.name for field in fields(KeptPair) if field.name != "sides")
SIDE_COLUMNS = tuple(field.name for field in fields(KeptSide) if field.name != "probabilities")

Page = tuple[Sequence[Pair], int | None]


def columns(sides: Sides) -> tuple[str, ...]:
    """Return the names of the columns for pairs of these sides."""
    of_side = (*SIDE_COLUMNS, *(f"probability_{action}" for action in ACTIONS))
    return (*PAIR_COLUMNS, *(f"{name.replace('-', '')}_{column}" for name in sides for column in of_side))


async def lines(sides: Sides, first: Page, read: Callable[[int], Awaitable[Page]]) -> AsyncGenerator[bytes, None]:
    """Yield the head and the lines of the first page, then of each page that `read` returns for the position of its
    `next`."""
    yield csv_text([columns(sides)]).encode()
    pairs, following = first
    while True:
        yield csv_text(_row(KeptPair.of(pair)) for pair in pairs).encode()
        if following is None:
            return
        pairs, following = await read(following)


def _row(pair: KeptPair) -> Iterator[Any]:
    yield from (_cell(getattr(pair, column)) for column in PAIR_COLUMNS)
    for side in pair.sides.values():
        yield from (_cell(getattr(side, column)) for column in SIDE_COLUMNS)
        yield from (side.probabilities and side.probabilities[action] for action in ACTIONS)


def _cell(value: Any) -> Any:
    """Write truth values and times as JSON does."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else value
