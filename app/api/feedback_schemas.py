"""The schemas of feedback on logged recommendations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic_core import to_json

from app.decision_log.feedback import Feedback
from app.decision_log.tables import EPOCH

MAX_COMMENT = 1000
MAX_SESSIONS = 252
"""A year."""


class Verdict(BaseModel):
    """A client's verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    helpful: StrictBool
    comment: Annotated[str | None, Field(min_length=1, max_length=MAX_COMMENT)] = None


class RealisedOutcome(BaseModel):
    """The stock's return after the recommendation, as `conviction outcomes` computes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sessions: Annotated[
        StrictInt,
        Field(
            ge=1, le=MAX_SESSIONS, description="from the close of the first session after the metrics' day to the exit"
        ),
    ]
    realised_return: Annotated[
        float,
        Field(ge=-1, le=1000, allow_inf_nan=False, strict=True, description="a fraction: 0.01 is one percent"),
    ]


class NewFeedback(BaseModel):
    """A verdict or a realised outcome: one verdict a key and recommendation, and one outcome for each horizon."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recommendation_id: Annotated[str, Field(description="the `id` of the answer")]
    verdict: Verdict | None = None
    outcome: RealisedOutcome | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.verdict is None) == (self.outcome is None):
            raise ValueError("either verdict or outcome is required")
        return self

    @property
    def kind(self) -> str:
        """What a principal may send once for a recommendation."""
        return "verdict" if self.outcome is None else f"outcome after {self.outcome.sessions}"

    @property
    def content(self) -> str:
        """The stored JSON."""
        return self.model_dump_json(include={"verdict", "outcome"})


@dataclass(frozen=True)
class PrincipalName:
    """The principal that received a recommendation: a key by its id and name, never the key itself."""

    id: Annotated[
        str, Field(description="of an issued key; `file:` and a name for a key of the file; `local` without keys")
    ]
    name: str


@dataclass(frozen=True)
class StoredFeedback:
    """Feedback on a recommendation, and who sent it."""

    principal: PrincipalName
    created_at: datetime
    verdict: Verdict | None
    outcome: RealisedOutcome | None


def feedback_document(feedback: Feedback) -> bytes:
    """Return a `StoredFeedback` that holds the stored JSON."""
    principal, at = (
        PrincipalName(feedback.principal_id, feedback.principal_name),
        EPOCH + timedelta(microseconds=feedback.at),
    )
    return b"%s,%s" % (to_json({"principal": principal, "created_at": at})[:-1], feedback.content[1:].encode())
