"""Reports over stored pairs: one at a time, off the event loop."""

from __future__ import annotations

import asyncio

from app.backends.concurrency_limit import ConcurrencyLimit
from app.comparison.pair_store import Comparisons
from app.comparison.pairs import joined
from app.comparison.statistics.report import Choice, Report, report

LINE = 8


class Reports:
    """Reads what is stored and sums it up."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons
        self._concurrency = ConcurrencyLimit(1, LINE)

    async def of(self, start_ms: int | None, end_ms: int | None, choice: Choice, half_width: float) -> Report:
        """The report of pairs from a time to before another, in milliseconds since 1970.

        Raises `Overloaded` where as many wait for theirs as may, and `StoreUnavailable`.
        """
        async with self._concurrency.acquire():
            parts = await self._comparisons.span(start_ms, end_ms)
            return await asyncio.to_thread(lambda: report(joined(parts), choice, half_width))
