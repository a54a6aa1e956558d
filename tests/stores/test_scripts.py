"""The date computation of the scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.stores.pipelined import Pipelined
from app.stores.scripts import Script


@pytest.fixture
def script() -> Script:
    """A script that returns the dates of times in seconds."""
    script = Script("clock")
    script.source += (
        "\nlocal dates = {} for place, time in ipairs(ARGV) do dates[place] = date(time * 1000000) end return dates"
    )
    return script


async def test_dates_are_utc(store: Pipelined, script: Script) -> None:
    first = datetime(1999, 12, 30, tzinfo=UTC)
    times = [first + timedelta(days=day, seconds=(-1, 0, 86399)[day % 3]) for day in range(0, 365 * 130, 7)]
    times += [datetime(year, month, day, tzinfo=UTC) for year in (2000, 2024, 2100) for month, day in ((2, 28), (3, 1))]
    script.sha = (await store.call("SCRIPT", "LOAD", script.source)).decode()
    dates = await store.run(script, *(int(time.timestamp()) for time in times))
    assert [day.decode() for day in dates] == [str(time.date()) for time in times]
