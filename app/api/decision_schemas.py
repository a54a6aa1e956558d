"""The schemas of logged recommendations, and the query that selects them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.feedback_schemas import PrincipalName, StoredFeedback
from app.api.query_parameters import TIME_FORMAT, Time, require_order
from app.contract.completion import BackendName
from app.contract.features import Ticker
from app.contract.recommendation import Action
from app.decision_log.queries import Selection
from app.decision_log.tables import microseconds
from app.recommendation import Recommendation

MAX_PAGE, PAGE = 200, 50


class DecisionQuery(BaseModel):
    """The query of a page of logged recommendations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticker: Annotated[Ticker | None, Field(description="only this ticker, in any case")] = None
    backend: Annotated[BackendName | None, Field(description="only this backend's")] = None
    action: Annotated[Action | None, Field(description="only this action")] = None
    start: Annotated[Time | None, Field(alias="from", description=f"the earliest time: {TIME_FORMAT}")] = None
    end: Annotated[Time | None, Field(alias="to", description="the time before which they were created")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="the page size")] = PAGE
    cursor: Annotated[str | None, Field(description="the `next` of the previous page of the same query")] = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        require_order(self.start, self.end)
        return self

    def selection(self, principal_id: str | None) -> Selection:
        """Return what to select of a principal's recommendations; None: of all."""
        start, end = (None if at is None else microseconds(at) for at in (self.start, self.end))
        ticker = None if self.ticker is None else self.ticker.upper()
        return Selection(principal_id, ticker, self.backend, self.action, start, end)


@dataclass(frozen=True)
class LoggedRecommendation:
    """A recommendation as the client received it, and who received it."""

    principal: PrincipalName
    cached: Annotated[bool, Field(description="whether the answer came from the cache")]
    recommendation: Recommendation


@dataclass(frozen=True)
class RatedRecommendation(LoggedRecommendation):
    """A logged recommendation and the feedback on it."""

    feedback: Annotated[list[StoredFeedback], Field(description="the oldest first")]


@dataclass(frozen=True)
class LoggedRecommendations:
    """A page of logged recommendations, the newest first."""

    recommendations: list[LoggedRecommendation]
    next: Annotated[str | None, Field(description="the cursor of the next page; null on the last page")]
