"""Feedback on decisions: what the principals that received them say about them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from app.decision_log.tables import FEEDBACK, INSERT


@dataclass(frozen=True)
class Feedback:
    """One principal's feedback of one kind on a decision."""

    decision_id: str
    principal_id: str
    kind: str
    principal_name: str
    at: int
    """Microseconds since 1970."""
    content: str
    """JSON."""


KEY = ("decision_id", "principal_id", "kind")
COLUMNS = [FEEDBACK.c[field.name] for field in fields(Feedback)]


def add(engine: Engine, feedback: Feedback) -> Feedback | None:
    """Store feedback and return it, or what the principal stored before of this kind; None without the decision."""
    insert: Any = INSERT[engine.dialect.name]
    same = [FEEDBACK.c[name] == getattr(feedback, name) for name in KEY]
    try:
        with engine.begin() as connection:
            connection.execute(insert(FEEDBACK).on_conflict_do_nothing(), [asdict(feedback)])
            return Feedback(*connection.execute(select(*COLUMNS).where(*same)).one())
    except IntegrityError:  # the decision expired after it was found
        return None


def feedback_on(engine: Engine, decision_id: str) -> Sequence[Feedback]:
    """Return the feedback on a decision, the oldest first."""
    query = select(*COLUMNS).where(FEEDBACK.c.decision_id == decision_id)
    with engine.connect() as connection:
        return [
            Feedback(*row)
            for row in connection.execute(query.order_by(FEEDBACK.c.at, *(FEEDBACK.c[name] for name in KEY)))
        ]
