"""Notices that a budget for the day has reached a threshold, as the webhook receives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic_core import to_json

from app.accounting.limit_status import LimitStatus
from app.contract.completion import BackendName
from app.pricing.limits import Scope
from app.pricing.prices import in_usd

THRESHOLDS = (50, 80, 100)
"""Percent of a budget."""


@dataclass(frozen=True)
class Budget:
    """The budget of a key, which has a name, or of a backend."""

    scope: Scope
    key: str | None = None
    backend: BackendName | None = None


@dataclass(frozen=True)
class Notice:
    """A budget that has reached a threshold. Amounts are nano-dollars."""

    budget: Budget
    threshold: int
    spent: int
    limit: int
    at: datetime

    @property
    def day(self) -> datetime:
        """The midnight, by UTC, from which the budget applies."""
        return self.at.replace(hour=0, minute=0, second=0, microsecond=0)

    @property
    def id(self) -> str:
        """The same for every notice of this budget, day and threshold, from whichever gateway."""
        return f"{self.budget.scope.name}:{self.day:%Y-%m-%d}:{self.threshold}"

    def body(self) -> bytes:
        """Return the JSON that is sent."""
        return to_json(
            {
                "id": self.id,
                "key": self.budget.key,
                "backend": self.budget.backend,
                "threshold_percent": self.threshold,
                "spent_usd": in_usd(self.spent),
                "limit_usd": in_usd(self.limit),
                "window": {"from": self.day, "to": self.day + timedelta(days=1)},
                "time": self.at,
            }
        )


def due(budget: Budget, status: LimitStatus, refused: int) -> Iterator[Notice]:
    """Yield a notice for each threshold that the budget has reached.

    `refused` is what a refused call could have cost, in nano-dollars, or 0. If what is left does not cover it, also
    without the calls in flight, the budget counts as fully used.
    """
    limit = budget.scope.limits.nano_usd_per_day
    if not limit:
        return
    spent, at = status.used_nano_usd(budget.scope.name), datetime.fromtimestamp(status.at_us / 1e6, UTC)
    exhausted = refused <= limit < spent + refused
    for threshold in THRESHOLDS:
        if 100 * spent >= threshold * limit or (exhausted and threshold == THRESHOLDS[-1]):
            yield Notice(budget, threshold, spent, limit, at)
