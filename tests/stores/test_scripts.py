"""The scripts' own reckoning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.stores.pipelined import Pipelined
from app.stores.scripts import Script


@pytest.fixture
def dates() -> Script:
    """The dates of moments in seconds."""
    script = Script("clock")
    script.source += (
        "\nlocal told = {} for place, moment in ipairs(ARGV) do told[place] = date(moment * 1000000) end return told"
    )
    return script


async def test_a_moment_s_date_is_utc_s(store: Pipelined, dates: Script) -> None:
    first = datetime(1999, 12, 30, tzinfo=UTC)
    moments = [first + timedelta(days=day, seconds=(-1, 0, 86399)[day % 3]) for day in range(0, 365 * 130, 7)]
    moments += [
        datetime(year, month, day, tzinfo=UTC) for year in (2000, 2024, 2100) for month, day in ((2, 28), (3, 1))
    ]
    dates.sha = (await store.call("SCRIPT", "LOAD", dates.source)).decode()
    told = await store.run(dates, *(int(moment.timestamp()) for moment in moments))
    assert [day.decode() for day in told] == [str(moment.date()) for moment in moments]
