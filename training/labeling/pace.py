"""When the next call may be sent: one gate for all of them, closed for as long as the server asks."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random

FIRST_S, LONGEST_S = 0.5, 60.0
"""Pauses where the server names none: the first up to 0.5 s, each up to twice the one before, at most a minute."""

SPREAD_S = 0.25
"""Calls that waited at the gate do not all pass it at once."""

LIMITS = ("requests", "tokens")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class Pace:
    """Holds calls back. Times are of `clock`, in seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float] = random,
    ) -> None:
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._open_at = clock()

    async def wait(self) -> None:
        """Until the gate is open; it may be closed anew meanwhile."""
        while (left := self._open_at - self._clock()) > 0:
            await self._sleep(left + SPREAD_S * self._jitter())

    def heed(self, headers: Mapping[str, str]) -> None:
        """After an answer: close where it says that a limit is used up, until that is reset."""
        self._hold(_reset(headers))

    def refused(self, headers: Mapping[str, str], attempt: int) -> float:
        """After a refusal, `attempt` of them before it: close as the headers say, or longer each time.

        Returns the pause in seconds.
        """
        asked = retry_after(headers)
        pause = max(asked or 0.0, _reset(headers))
        if asked is None and not pause:
            pause = min(LONGEST_S, FIRST_S * 2**attempt) * self._jitter()
        self._hold(pause)
        return pause

    def _hold(self, seconds: float) -> None:
        self._open_at = max(self._open_at, self._clock() + seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds by retry-after-ms or Retry-After (seconds, or a date); None where neither can be read."""
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
    """A span as the headers write it, such as 1s, 120ms or 6m0s; zero where it is none."""
    parts = SPAN.findall(span)
    whole = "".join(number + unit for number, unit in parts) == span
    return sum(float(number) * UNITS[unit] for number, unit in parts) if whole else 0.0


def _reset(headers: Mapping[str, str]) -> float:
    """Seconds until the limits that are used up are reset, by OpenAI's x-ratelimit headers."""
    used_up = [limit for limit in LIMITS if headers.get(f"x-ratelimit-remaining-{limit}") == "0"]
    return max((seconds(headers.get(f"x-ratelimit-reset-{limit}", "")) for limit in used_up), default=0.0)
