"""A cache of snapshots that shares concurrent fetches, and serves stale snapshots while a source is unavailable."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from app.errors import MarketDataRateLimited, MarketDataUnavailable
from app.market.provider import Provider
from app.market.source import OptionSource, Snapshot

MAX_SNAPSHOTS = 4096
"""Of some 5 KB each; the least recently used are evicted first."""

Key = tuple[str, date | None]


@dataclass(frozen=True)
class Freshness:
    """Seconds for which a snapshot is served without a fetch, and for which it is served if a fetch fails."""

    fresh_s: float
    stale_s: float


class SnapshotCache:
    """Snapshots by ticker and day.

    A stale snapshot is served only if the source is unreachable or rate-limits; other errors are raised.
    """

    def __init__(
        self,
        provider: Provider,
        options: OptionSource,
        freshness: Freshness,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.provider = provider
        self._options = options
        self._freshness = freshness
        self._now = now
        self._snapshots: OrderedDict[Key, Snapshot] = OrderedDict()
        self._fetches: dict[Key, asyncio.Task[Snapshot]] = {}

    async def get(self, ticker: str, as_of: date | None) -> Snapshot:
        """Return the stock's snapshot, with its age and whether it is stale.

        Cancelling one caller does not cancel the shared fetch. Raises the errors of `take_snapshot`.
        """
        key = (ticker.upper(), as_of)
        cached = self._snapshots.get(key)
        if cached is not None:
            self._snapshots.move_to_end(key)
            if self._age(cached) < self._freshness.fresh_s:
                return self._dated(cached, stale=False)
        try:
            return self._dated(await asyncio.shield(self._fetch(key)), stale=False)
        except (MarketDataUnavailable, MarketDataRateLimited):
            if cached is None or self._age(cached) >= self._freshness.stale_s:
                raise
            return self._dated(cached, stale=True)

    def _fetch(self, key: Key) -> asyncio.Task[Snapshot]:
        """Return the running fetch of a key, or start one."""
        if key not in self._fetches:
            task = asyncio.create_task(asyncio.to_thread(_take_snapshot, self.provider, *key, self._options))
            task.add_done_callback(lambda done: self._on_fetched(key, done))
            self._fetches[key] = task
        return self._fetches[key]

    def _on_fetched(self, key: Key, done: asyncio.Task[Snapshot]) -> None:
        del self._fetches[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._snapshots[key] = done.result()
        self._snapshots.move_to_end(key)
        if len(self._snapshots) > MAX_SNAPSHOTS:
            self._snapshots.popitem(last=False)

    def _age(self, snapshot: Snapshot) -> float:
        return (self._now() - snapshot.source.fetched_at).total_seconds()

    def _dated(self, snapshot: Snapshot, *, stale: bool) -> Snapshot:
        source = snapshot.source.aged(self._now()).model_copy(update={"stale": stale})
        return snapshot.model_copy(update={"source": source})


def _take_snapshot(provider: Provider, ticker: str, as_of: date | None, options: OptionSource) -> Snapshot:
    from app.market.snapshot import take_snapshot  # imports pandas and TA-Lib

    return take_snapshot(provider, ticker, as_of, options)
