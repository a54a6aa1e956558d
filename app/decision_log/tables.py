"""The tables of the decision log, the same in SQLite and PostgreSQL, and the statements that write decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import BigInteger, Column, Engine, ForeignKey, Index, MetaData, Table, Text, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from app.auth.principal import Principal
from app.recommendation import RECOMMENDATION, Recommendation

METADATA = MetaData()
DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),  # microseconds since 1970
    Column("principal_id", Text, nullable=False),
    Column("principal_name", Text, nullable=False),
    Column("ticker", Text),
    Column("backend", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("recommendation", Text, nullable=False),  # JSON, as the client received it
    Index("decisions_by_time", "at", "id"),
    Index("decisions_by_principal", "principal_id", "at", "id"),
    Index("decisions_by_ticker", "ticker", "at", "id"),
)
FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("decision_id", Text, ForeignKey(DECISIONS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("principal_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("principal_name", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # microseconds since 1970
    Column("content", Text, nullable=False),  # JSON
)
EXPIRED_PER_WRITE = 1000
"""More than a batch, so that the table does not grow once entries expire."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Row = Mapping[str, Any]


def microseconds(at: datetime) -> int:
    """Return the microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def row(answer: Recommendation, principal: Principal) -> Row:
    """Return the row of an answer that the principal received."""
    return {
        "id": answer.id,
        "at": microseconds(answer.created_at),
        "principal_id": principal.id,
        "principal_name": principal.name,
        "ticker": answer.ticker,
        "backend": answer.backend,
        "action": answer.action,
        "source": answer.source,
        "recommendation": RECOMMENDATION.dump_json(answer).decode(),
    }


def probe() -> Row:
    """Return a row that has expired: it is written and deleted in one transaction, which a full disk refuses."""
    empty = dict.fromkeys((column.name for column in DECISIONS.columns), "")
    return empty | {"id": f"probe_{uuid4().hex}", "at": 0}


def create(engine: Engine) -> None:
    """Create the tables that are missing. In PostgreSQL that fails where another gateway creates them meanwhile."""
    try:
        METADATA.create_all(engine)
    except DBAPIError:
        METADATA.create_all(engine)


def write(engine: Engine, rows: Iterable[Row], expired_before: int) -> None:
    """Insert the rows and delete expired ones, in one transaction. A row that is there already is not changed."""
    insert: Any = INSERT[engine.dialect.name]
    expired = (
        select(DECISIONS.c.id)
        .where(DECISIONS.c.at < expired_before)
        .order_by(DECISIONS.c.at)
        .limit(EXPIRED_PER_WRITE)
        .with_for_update(skip_locked=True)  # other gateways delete, too; SQLite has one writer and ignores it
    )
    with engine.begin() as connection:
        connection.execute(insert(DECISIONS).on_conflict_do_nothing(), list(rows) or [probe()])
        connection.execute(delete(DECISIONS).where(DECISIONS.c.id.in_(expired)))
