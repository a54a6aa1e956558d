"""Detection of overload by the lag of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from app.telemetry.metrics import Collectors

PROBE_INTERVAL_S = 0.005
LAG_LIMIT_S = 0.005
"""The lag above which a probe is late: new requests then wait longer in the queue than they take."""
SUSTAINED_S = 0.05
"""The time for which probes must be late before requests are refused; a burst is over by then."""
HOLD_S = 1.0
"""The time after a refusal in which a single late probe is enough to refuse again."""


class LoopLag:
    """A probe of the event loop; `high` is true while the gateway cannot keep up with its requests."""

    def __init__(self) -> None:
        self.high = False
        self.refused = 0
        """Requests refused since the last probe, counted by the protocol that refuses them."""
        self._late_since: float | None = None
        self._hold_until = 0.0

    @contextmanager
    def monitoring(self, collectors: Collectors) -> Iterator[None]:
        """Probe the loop within the block, and count refused requests in the metrics."""
        task = asyncio.create_task(self._probe(collectors))
        try:
            yield
        finally:
            task.cancel()
            self._report(collectors)

    async def _probe(self, collectors: Collectors) -> None:
        while True:
            began = monotonic()
            await asyncio.sleep(PROBE_INTERVAL_S)
            now = monotonic()
            self.observe(now, now - began - PROBE_INTERVAL_S)
            self._report(collectors)

    def observe(self, now: float, lag_s: float) -> None:
        """Update `high` by one probe's lag; `now` is the reading of a monotonic clock. Both are in seconds."""
        if lag_s <= LAG_LIMIT_S:
            self._late_since, self.high = None, False
            return
        if self._late_since is None:
            self._late_since = now
        self.high = now - self._late_since >= SUSTAINED_S or now < self._hold_until
        if self.high:
            self._hold_until = now + HOLD_S

    def _report(self, collectors: Collectors) -> None:
        if self.refused:
            collectors.overloaded.inc(self.refused)
            self.refused = 0
