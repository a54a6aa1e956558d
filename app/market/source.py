"""A stock's metrics and their source, as answers hold them. Does not import pandas."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from app.contract.features import Metrics

MAX_AGE_SESSIONS = 1
"""Sessions by which a close may precede the last one without being stale: sources publish bars up to a session late."""

OptionSource = Literal["provider", "simulated", "none"]


class MetricsSource(BaseModel):
    """The source of metrics, as answers state it."""

    model_config = ConfigDict(frozen=True)

    provider: str
    simulated: list[str]
    """The simulated groups of metrics: ["options"] or none."""
    fetched_at: AwareDatetime
    age_s: float
    """Seconds since the fetch."""
    as_of_age_sessions: int = 0
    """Trading sessions that have ended since the close, up to the requested day."""
    stale: bool = False
    """Whether a newer close is missing by more than a session, or the metrics are past their freshness because the
    source is unavailable."""
    excluded: dict[str, int]
    """The number of implied volatilities excluded from each side's mean, and 1 for each metric out of bounds."""

    def aged(self, now: datetime) -> MetricsSource:
        """Return a copy with the age at `now`."""
        return self.model_copy(update={"age_s": round((now - self.fetched_at).total_seconds(), 3)})


class Snapshot(BaseModel):
    """The metrics of one stock at one close."""

    model_config = ConfigDict(frozen=True)

    ticker: str
    metrics: Metrics
    source: MetricsSource
