"""Reports run one at a time, behind a bounded queue."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from app.comparison import report_service as reports
from app.comparison.choice import Choice
from app.comparison.pair_store import Comparisons
from app.comparison.records import Records
from app.comparison.report_service import QUEUE_SIZE, Reports
from app.comparison.statistics.report import Report
from app.comparison.statistics.report import report as real
from app.comparison.versions import UNKNOWN_ONLY, Versions
from app.contract.completion import BACKEND_NAMES
from app.errors import Overloaded
from tests.statistics.pairs import pair, records, side


class Kept(Comparisons):
    """Pairs that need no store."""

    def __init__(self) -> None:
        self.sides = BACKEND_NAMES

    async def span(self, start_ms: int | None, end_ms: int | None) -> list[Records]:
        return [records([pair(side("buy"), side("buy"))]), records([pair(side("buy"), side("sell"))])]

    async def versions(self) -> Versions:
        return UNKNOWN_ONLY


async def test_runs_are_summed_up_together() -> None:
    found = await Reports(Kept()).of(None, None, Choice(), 0.02)
    assert (found.pairs, found.confusion["buy"]["sell"]) == (2, 1)
    assert tuple(found.backends) == BACKEND_NAMES


async def test_reports_run_one_at_a_time_in_a_thread_and_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    go, concurrency, most = threading.Event(), 0, 0

    def slow(found: Records, choice: Choice, half_width: float, *more: Any) -> Report:
        nonlocal concurrency, most
        concurrency += 1
        most = max(most, concurrency)
        assert threading.current_thread() is not threading.main_thread()
        assert go.wait(30)
        concurrency -= 1
        return real(found, choice, half_width, *more)

    monkeypatch.setattr(reports, "report", slow)
    made = Reports(Kept())
    asked = [asyncio.create_task(made.of(None, None, Choice(), 0.02)) for _ in range(QUEUE_SIZE + 2)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = (each for each in asked if each.done())
    with pytest.raises(Overloaded):
        refused.result()
    go.set()
    results = await asyncio.gather(*(each for each in asked if each is not refused))
    assert [each.pairs for each in results] == [2] * (QUEUE_SIZE + 1)
    assert most == 1
