"""Reports on stored pairs, computed one at a time in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.backends.concurrency_limit import ConcurrencyLimit
from app.comparison.choice import Choice
from app.comparison.pair_store import Comparisons
from app.comparison.records import Sides, concatenate
from app.comparison.sectors import Sectors
from app.comparison.statistics.groups import Dimension
from app.comparison.statistics.report import BY, Report, report
from app.contract.completion import BACKEND_NAMES

QUEUE_SIZE = 8


class Reports:
    """Computes reports on the stored pairs."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons
        self._concurrency = ConcurrencyLimit(1, QUEUE_SIZE)

    async def of(
        self,
        start_ms: int | None,
        end_ms: int | None,
        choice: Choice,
        half_width: float,
        by: Sequence[Dimension] = BY,
        sides: Sides = BACKEND_NAMES,
        sectors: Sectors | None = None,
    ) -> Report:
        """Return the report of the pairs in [start, end), in milliseconds since 1970.

        Raises `Overloaded` if the queue of reports is full, `InvalidRequest` as `groups` does, and `StoreUnavailable`.
        """
        async with self._concurrency.acquire():
            comparisons = self._comparisons.of(sides)
            parts, versions = await comparisons.span(start_ms, end_ms), await comparisons.versions()
            return await asyncio.to_thread(
                lambda: report(concatenate(parts, sides), choice, half_width, versions, by, sectors)
            )
