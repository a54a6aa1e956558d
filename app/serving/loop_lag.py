"""Whether the processor keeps up, by how late the event loop comes to what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from app.telemetry.metrics import Collectors

LOOK_S = 0.005
LATE_S = 0.005
"""So much behind its time, a look is late: requests that come now wait longer in line than they take."""
SUSTAINED_S = 0.05
"""For so long looks have to be late before requests are refused: a burst is over by then."""
HELD_S = 1.0
"""For so long after requests were refused one late look is enough to refuse again."""


class LoopLag:
    """`high` while what comes cannot be kept up with."""

    def __init__(self) -> None:
        self.high = False
        self.refused = 0
        """Requests refused since the last look, as whoever refuses them counts."""
        self._late_since: float | None = None
        self._alert_until = 0.0

    @contextmanager
    def watched(self, collectors: Collectors) -> Iterator[None]:
        """Look every so often, and count in the metrics what was refused, until the context ends."""
        looking = asyncio.create_task(self._look_on(collectors))
        try:
            yield
        finally:
            looking.cancel()
            self._report(collectors)

    async def _look_on(self, collectors: Collectors) -> None:
        while True:
            began = monotonic()
            await asyncio.sleep(LOOK_S)
            now = monotonic()
            self.look(now, now - began - LOOK_S)
            self._report(collectors)

    def look(self, now: float, late_s: float) -> None:
        """Take note that the loop came so late; both in seconds, `now` by any clock that does not go back."""
        if late_s <= LATE_S:
            self._late_since, self.high = None, False
            return
        if self._late_since is None:
            self._late_since = now
        self.high = now - self._late_since >= SUSTAINED_S or now < self._alert_until
        if self.high:
            self._alert_until = now + HELD_S

    def _report(self, collectors: Collectors) -> None:
        if self.refused:
            collectors.outpaced.inc(self.refused)
            self.refused = 0
