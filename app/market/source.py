"""A stock's metrics, the bars before them, and their source, as answers hold them. Does not import pandas."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from app.contract.features import Metrics

MAX_AGE_SESSIONS = 1
"""Sessions by which a close may precede the last one without being stale: sources publish bars up to a session late."""

MAX_SESSIONS = 260
"""The most bars of an answer: a year has 250 to 253 sessions."""

OptionSource = Literal["provider", "simulated", "none"]


class BarsSource(BaseModel):
    """The source of bars, as answers state it."""

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

    def aged(self, now: datetime) -> Self:
        """Return a copy with the age at `now`."""
        return self.model_copy(update={"age_s": round((now - self.fetched_at).total_seconds(), 3)})


class MetricsSource(BarsSource):
    """The source of metrics, as answers state it."""

    excluded: dict[str, int]
    """The number of implied volatilities excluded from each side's mean, and 1 for each metric out of bounds."""

    def of_bars(self) -> BarsSource:
        """Return the source of the bars that the metrics were computed from, none of which is simulated."""
        return BarsSource(**self.model_dump(exclude={"simulated", "excluded"}), simulated=[])


class Snapshot(BaseModel):
    """The metrics of one stock at one close."""

    model_config = ConfigDict(frozen=True)

    ticker: str
    metrics: Metrics
    source: MetricsSource


@dataclass(frozen=True)
class History:
    """The bars up to a close, the oldest first: `MAX_SESSIONS` of them, and those before that averages need."""

    days: array[int]
    """Ordinals of the proleptic Gregorian calendar."""
    closes: array[float]
    """USD, back-adjusted to the last bar."""
    volumes: array[float]
    """Shares, restated by splits."""


@dataclass(frozen=True)
class LookUp:
    """What one fetch found of a stock."""

    snapshot: Snapshot
    history: History
