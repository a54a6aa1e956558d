"""Detection of overload by the lag of the event loop: the time for which work that is ready waits for its turn.

As in CoDel (RFC 8289), only a queue that stands is overload: the lag must stay above a target for an interval. A burst,
a pause of the process, or many requests that wait for a backend keep no queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from app.telemetry.metrics import Collectors

PROBE_INTERVAL_S = 0.005
TARGET_S = 0.02
INTERVAL_S = 0.1
"""The lag, and the time for which every probe must exceed it, from which the gateway is overloaded."""
MIN_ACTIVE = 128
"""Requests in progress up to which the gateway is not overloaded, whatever the lag: other processes may cause it."""
LATE_S = 0.005
HOLD_S = 1.0
"""Once overloaded, requests are refused whenever a probe is later than `LATE_S`, until none was for `HOLD_S`: the
standing queue is drained then, and does not build up again."""


class LoopLag:
    """A probe of the event loop; `high` is true while the gateway cannot keep up with its requests."""

    def __init__(self) -> None:
        self.high = False
        self.active = 0
        """Requests that have arrived whole and are not answered yet, counted by the protocol."""
        self.refused = 0
        """Requests refused since the last probe, counted by the protocol that refuses them."""
        self._standing_since: float | None = None
        self._hold_until = float("-inf")

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
        if lag_s <= TARGET_S or self.active <= MIN_ACTIVE:
            self._standing_since = None
        elif self._standing_since is None:
            self._standing_since = now
        overloaded = self._standing_since is not None and now - self._standing_since >= INTERVAL_S
        self.high = lag_s > LATE_S and (overloaded or now < self._hold_until)
        if self.high:
            self._hold_until = now + HOLD_S

    def _report(self, collectors: Collectors) -> None:
        if self.refused:
            collectors.overloaded.inc(self.refused)
            self.refused = 0
