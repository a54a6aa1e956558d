"""How much may be asked for, and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

MOST_A_MINUTE = 10**8
MOST_NANO_USD_A_DAY = 10**15
"""Beyond these a limit is counted as if it were these: Redis' scripts count in 53 bits."""

NO_LIMIT = -1


@dataclass(frozen=True)
class Limits:
    """Limits; None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    nano_usd_per_day: int | None = None


@dataclass(frozen=True)
class Scope:
    """Whose use is counted: `key:<id>` or `backend:<name>`."""

    name: str
    limits: Limits

    @cached_property
    def arguments(self) -> tuple[str, int, int, int]:
        """As the store's scripts take it."""
        limits = self.limits
        return (
            self.name,
            _within(limits.requests_per_minute, MOST_A_MINUTE),
            _within(limits.tokens_per_minute, MOST_A_MINUTE),
            _within(limits.nano_usd_per_day, MOST_NANO_USD_A_DAY),
        )


class Estimate(NamedTuple):
    """The most a call can take."""

    tokens: int
    nano_usd: int


def _within(limit: int | None, most: int) -> int:
    return NO_LIMIT if limit is None else max(0, min(limit, most))
