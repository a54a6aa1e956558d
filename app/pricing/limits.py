"""Limits of requests, tokens and money, and the scopes they apply to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

MAX_PER_MINUTE = 10**8
MAX_NANO_USD_PER_DAY = 10**15
"""Higher limits count as these, because Redis' scripts compute in 53 bits."""

MAX_CALL_NANO_USD = 10**13
"""More than any call costs."""

NO_LIMIT = -1


@dataclass(frozen=True)
class Limits:
    """Limits; None for no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    nano_usd_per_day: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Scope:
    """A key or backend whose usage is counted: `key:<id>` or `backend:<name>`."""

    name: str
    limits: Limits

    @cached_property
    def arguments(self) -> tuple[str, int, int, int]:
        """The arguments of the store's scripts."""
        limits = self.limits
        return (
            self.name,
            _clamp(limits.requests_per_minute, MAX_PER_MINUTE),
            _clamp(limits.tokens_per_minute, MAX_PER_MINUTE),
            _clamp(limits.nano_usd_per_day, MAX_NANO_USD_PER_DAY),
        )


class Estimate(NamedTuple):
    """The most that a call can use."""

    tokens: int
    nano_usd: int


def _clamp(limit: int | None, highest: int) -> int:
    return NO_LIMIT if limit is None else max(0, min(limit, highest))
