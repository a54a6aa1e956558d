"""A shared rate limiter that pauses all requests for as long as the server asks."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random

FIRST_S, MAX_BACKOFF_S = 0.5, 60.0
"""Exponential backoff with full jitter, if the server names no pause."""

SPREAD_S = 0.25
"""Random delay that spreads the requests after a pause."""

LIMITS = ("requests", "tokens")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class RateLimiter:
    """Delays requests. Times are seconds of `clock`."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float] = random,
    ) -> None:
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._open_at = clock()

    async def wait(self) -> None:
        """Wait until requests are allowed; the pause may be extended meanwhile."""
        while (left := self._open_at - self._clock()) > 0:
            await self._sleep(left + SPREAD_S * self._jitter())

    def record_answer(self, headers: Mapping[str, str]) -> None:
        """Pause until exhausted rate limits reset, according to an answer's headers."""
        self._hold(_reset(headers))

    def record_refusal(self, headers: Mapping[str, str], attempt: int) -> float:
        """Pause after rejection number `attempt`, as the headers say, else with exponential backoff.

        Returns the pause in seconds.
        """
        requested = retry_after(headers)
        pause = max(requested or 0.0, _reset(headers))
        if requested is None and not pause:
            pause = min(MAX_BACKOFF_S, FIRST_S * 2**attempt) * self._jitter()
        self._hold(pause)
        return pause

    def _hold(self, seconds: float) -> None:
        self._open_at = max(self._open_at, self._clock() + seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return seconds by retry-after-ms or Retry-After (seconds or a date), or None without a valid one."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    try:
        moment = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def seconds(span: str) -> float:
    """Return the seconds of a duration such as 1s, 120ms or 6m0s; zero if it is invalid."""
    parts = SPAN.findall(span)
    whole = "".join(number + unit for number, unit in parts) == span
    return sum(float(number) * UNITS[unit] for number, unit in parts) if whole else 0.0


def _reset(headers: Mapping[str, str]) -> float:
    """Return seconds until the exhausted limits of OpenAI's x-ratelimit headers reset."""
    used_up = [limit for limit in LIMITS if headers.get(f"x-ratelimit-remaining-{limit}") == "0"]
    return max((seconds(headers.get(f"x-ratelimit-reset-{limit}", "")) for limit in used_up), default=0.0)
