"""Sessions of the New York Stock Exchange, with its holidays and early closes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache

SETTLING = timedelta(minutes=15)
"""Time after the close from which a session's bar no longer changes."""

FIRST_SESSION, YEARS_AHEAD = "1970-01-01", 5


@dataclass(frozen=True)
class Calendar:
    """Sessions in order: their days, and their opening and settling times."""

    days: Sequence[date]
    opened: Sequence[datetime]
    settled: Sequence[datetime]


def session_on_or_before(day: date) -> date:
    """Return the last session that is not after the day."""
    days = _calendar().days
    return days[max(0, bisect_right(days, day) - 1)]


def settled_session(now: datetime) -> date:
    """Return the last session that is over, its bar settled."""
    calendar = _calendar()
    return calendar.days[bisect_right(calendar.settled, now) - 1]


def is_open(now: datetime) -> bool:
    """Return whether a session has begun whose bar is not settled yet."""
    calendar = _calendar()
    return bisect_right(calendar.opened, now) > bisect_right(calendar.settled, now)


def sessions_since(close: date, as_of: date | None, now: datetime) -> int:
    """Return the number of settled sessions after that of `close`, up to `as_of` (None: now)."""
    days = _calendar().days
    last = settled_session(now) if as_of is None else min(as_of, settled_session(now))
    return max(0, bisect_right(days, last) - bisect_right(days, close))


@cache
def _calendar() -> Calendar:
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar  # imports pandas

    end = f"{datetime.now(UTC).year + YEARS_AHEAD}-12-31"
    schedule = XNYSExchangeCalendar(start=FIRST_SESSION, end=end).schedule
    return Calendar(
        days=[session.date() for session in schedule.index],
        opened=[opened.to_pydatetime() for opened in schedule["open"]],
        settled=[closed.to_pydatetime() + SETTLING for closed in schedule["close"]],
    )
