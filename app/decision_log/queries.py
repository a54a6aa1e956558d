"""Reading the decision log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import Engine, Select, literal, select, tuple_

from app.contract.completion import BackendName
from app.contract.recommendation import Action
from app.decision_log.tables import DECISIONS


@dataclass(frozen=True)
class Decision:
    """A stored answer and the principal that received it."""

    id: str
    at: int
    """Microseconds since 1970."""
    principal_id: str
    principal_name: str
    source: str
    recommendation: str
    """JSON, as the client received it."""


@dataclass(frozen=True)
class Selection:
    """Which decisions a query selects; None: any."""

    principal_id: str | None = None
    ticker: str | None = None
    backend: BackendName | None = None
    action: Action | None = None
    start: int | None = None
    """The earliest time, in microseconds since 1970."""
    end: int | None = None
    """The time before which they were made."""


class Position(NamedTuple):
    """The place of a decision in the order of time."""

    at: int
    id: str


COLUMNS = [DECISIONS.c[field.name] for field in fields(Decision)]


def find(engine: Engine, decision_id: str, principal_id: str | None) -> Decision | None:
    """Return a decision; None if there is none of this id, or if another principal received it."""
    query = _selected(Selection(principal_id)).where(DECISIONS.c.id == decision_id)
    return next(iter(_read(engine, query)), None)


def page(engine: Engine, selection: Selection, before: Position | None, limit: int) -> Sequence[Decision]:
    """Return up to `limit` selected decisions made before a position, the newest first."""
    query = _selected(selection).order_by(DECISIONS.c.at.desc(), DECISIONS.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(DECISIONS.c.at, DECISIONS.c.id) < tuple_(*map(literal, before)))
    return _read(engine, query)


def _selected(selection: Selection) -> Select[*tuple[Any, ...]]:
    names = ("principal_id", "ticker", "backend", "action")
    given = {name: value for name in names if (value := getattr(selection, name)) is not None}
    query = select(*COLUMNS).where(*(DECISIONS.c[name] == value for name, value in given.items()))
    if selection.start is not None:
        query = query.where(DECISIONS.c.at >= selection.start)
    if selection.end is not None:
        query = query.where(DECISIONS.c.at < selection.end)
    return query


def _read(engine: Engine, query: Select[*tuple[Any, ...]]) -> list[Decision]:
    with engine.connect() as connection:
        return [Decision(*found) for found in connection.execute(query)]
