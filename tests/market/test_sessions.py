"""Sessions of the New York Stock Exchange: weekends, holidays, early closes and both daylight saving times."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime

import pytest

from app.market.sessions import is_open, session_on_or_before, sessions_since, settled_session
from app.market.yfinance import NEW_YORK


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("now", "settled", "opened"),
    [
        ("2024-03-08T09:29", date(2024, 3, 7), False),
        ("2024-03-08T16:14", date(2024, 3, 7), True),
        ("2024-03-08T16:15", date(2024, 3, 8), False),
        ("2024-03-11T09:00", date(2024, 3, 8), False),
        ("2024-03-29T18:00", date(2024, 3, 28), False),  # Good Friday
        ("2024-11-29T13:14", date(2024, 11, 27), True),  # early close, after Thanksgiving
        ("2024-11-29T13:15", date(2024, 11, 29), False),
    ],
)
def test_the_settled_session(now: str, settled: date, opened: bool) -> None:
    assert settled_session(new_york(now)) == settled
    assert is_open(new_york(now)) is opened


def test_ages_are_in_sessions() -> None:
    monday_evening = new_york("2024-04-01T18:00")
    assert sessions_since(date(2024, 4, 1), None, monday_evening) == 0
    assert sessions_since(date(2024, 3, 28), None, monday_evening) == 1  # four days, with Good Friday
    assert sessions_since(date(2024, 3, 28), date(2024, 3, 31), monday_evening) == 0
    assert sessions_since(date(2024, 3, 27), date(2024, 3, 31), monday_evening) == 1
    assert sessions_since(date(2023, 4, 3), None, monday_evening) == 260 - 11  # weekdays less holidays
    assert session_on_or_before(date(2024, 3, 31)) == date(2024, 3, 28)


def test_the_gateway_starts_without_the_calendar() -> None:
    code = "import sys, app.main; sys.exit('exchange_calendars' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
