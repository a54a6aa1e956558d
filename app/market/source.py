"""What is said of a stock's metrics: what they are, and where they come from. Free of pandas, as answers must be."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from app.contract.features import Metrics

OptionSource = Literal["provider", "simulated", "none"]


class MetricsSource(BaseModel):
    """Where metrics come from, as answers state it."""

    model_config = ConfigDict(frozen=True)

    provider: str
    simulated: list[str]
    """The groups of metrics that were made up: ["options"] or none."""
    fetched_at: AwareDatetime
    age_s: float
    """Seconds since they were fetched."""
    stale: bool = False
    """Whether they are older than they should be, since the source cannot be asked now."""
    excluded: dict[str, int]
    """Implied volatilities left out of the means, a side; and metrics left out as beyond bounds, by name."""

    def aged(self, now: datetime) -> MetricsSource:
        """The same source, seen from `now`."""
        return self.model_copy(update={"age_s": round((now - self.fetched_at).total_seconds(), 3)})


class Snapshot(BaseModel):
    """The metrics of one stock at one close."""

    model_config = ConfigDict(frozen=True)

    ticker: str
    metrics: Metrics
    source: MetricsSource
