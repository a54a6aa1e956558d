"""Snapshots under load: fetched once a stock however many ask, kept for a while, and used again where a fetch fails."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from app.errors import MarketDataRateLimited, MarketDataUnavailable
from app.market.provider import Provider
from app.market.source import OptionSource, Snapshot

KEPT = 4096
"""Snapshots, of some 5 KB each; the ones not asked for longest go first."""

Key = tuple[str, date | None]


@dataclass(frozen=True)
class Freshness:
    """Seconds for which a snapshot is as good as new, and for which it is better than an error."""

    fresh_s: float
    stale_s: float


class Snapshots:
    """The metrics of stocks, as asked for by ticker.

    Only what a source that cannot be reached or asks for fewer requests has said before is used again: a ticker that
    has become unknown is unknown.
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
        self._kept: OrderedDict[Key, Snapshot] = OrderedDict()
        self._fetches: dict[Key, asyncio.Task[Snapshot]] = {}

    async def of(self, ticker: str, as_of: date | None) -> Snapshot:
        """The stock's snapshot, its source saying how old it is and whether it is stale.

        A caller that is cancelled leaves the fetch to the others. Raises the errors of a fetch.
        """
        key = (ticker.upper(), as_of)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            if self._age(kept) < self._freshness.fresh_s:
                return self._dated(kept, stale=False)
        try:
            return self._dated(await asyncio.shield(self._fetch(key)), stale=False)
        except (MarketDataUnavailable, MarketDataRateLimited):
            if kept is None or self._age(kept) >= self._freshness.stale_s:
                raise
            return self._dated(kept, stale=True)

    def _fetch(self, key: Key) -> asyncio.Task[Snapshot]:
        """The fetch under way, or a new one."""
        if key not in self._fetches:
            task = asyncio.create_task(asyncio.to_thread(_measured, self.provider, *key, self._options))
            task.add_done_callback(lambda done: self._fetched(key, done))
            self._fetches[key] = task
        return self._fetches[key]

    def _fetched(self, key: Key, done: asyncio.Task[Snapshot]) -> None:
        del self._fetches[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[key] = done.result()
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _age(self, kept: Snapshot) -> float:
        return (self._now() - kept.source.fetched_at).total_seconds()

    def _dated(self, kept: Snapshot, *, stale: bool) -> Snapshot:
        source = kept.source.aged(self._now()).model_copy(update={"stale": stale})
        return kept.model_copy(update={"source": source})


def _measured(provider: Provider, ticker: str, as_of: date | None, options: OptionSource) -> Snapshot:
    from app.market.snapshot import snapshot  # pandas and TA-Lib: not before a ticker is asked for

    return snapshot(provider, ticker, as_of, options)
