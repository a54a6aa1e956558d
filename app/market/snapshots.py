"""A cache of snapshots that shares concurrent fetches, and serves stale snapshots while a source is unavailable."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, Semaphore, to_thread

from app.errors import MarketDataRateLimited, MarketDataUnavailable, RateLimited, UnknownTicker
from app.market.provider import Provider
from app.market.source import LookUp, OptionSource, Snapshot

MAX_SNAPSHOTS = 2048
"""Of some 15 KB each with their bars; the least recently used are evicted first."""

MAX_FETCHES, MAX_FETCHES_PER_CLIENT = 8, 3
"""Concurrent fetches; further ones wait for the client's own."""

MAX_WAITING_PER_CLIENT = 64
"""Look-ups that wait for a fetch of the client to end; four times the items of a batch that are answered at a time."""
WAITING_RETRY_S = 5.0
"""Seconds after which some of them have ended."""

UNKNOWN_S = 60.0
"""Seconds for which a ticker that the source does not know is not requested again."""

Key = tuple[str, date | None]
T = TypeVar("T")


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
        self._found: OrderedDict[Key, LookUp] = OrderedDict()
        self._unknown: OrderedDict[Key, datetime] = OrderedDict()
        self._paused_until = datetime.min.replace(tzinfo=UTC)
        self._fetches: dict[Key, asyncio.Future[LookUp]] = {}
        self._threads: CapacityLimiter | None = None
        self._slots: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def needs_fetch(self, ticker: str, as_of: date | None) -> bool:
        """Return whether `get` would start a fetch, instead of reading the cache or joining a fetch."""
        key = (ticker.upper(), as_of)
        if key in self._fetches or self._now() < max(self._paused_until, self._unknown.get(key, self._paused_until)):
            return False
        return self._fresh(key) is None

    async def get(self, ticker: str, as_of: date | None, client: str = "") -> Snapshot:
        """Return the stock's snapshot, with its age and whether it is stale. Raises the errors of `look_up`."""
        return (await self.look_up(ticker, as_of, client)).snapshot

    async def look_up(self, ticker: str, as_of: date | None, client: str = "") -> LookUp:
        """Return the stock's snapshot and its bars.

        Fetches of one client wait for each other. Cancelling one caller does not cancel the shared fetch. Raises the
        errors of `take_snapshot`; `UnknownTicker` and `MarketDataRateLimited` for a while without a fetch;
        `RateLimited` if too many look-ups of the client wait.
        """
        key = (ticker.upper(), as_of)
        cached = self._found.get(key)
        if cached is not None:
            self._found.move_to_end(key)
        try:
            return self._dated(self._fresh(key) or await self._fetched(key, client))
        except (MarketDataUnavailable, MarketDataRateLimited):
            if cached is None or self._age(cached) >= self._freshness.stale_s:
                raise
            return self._dated(cached, unavailable=True)

    async def tickers(self) -> Sequence[str] | None:
        """Return the tickers of the source; None if it cannot list them. Raises `MarketDataUnavailable`."""
        return await to_thread.run_sync(self.provider.tickers)

    def _fresh(self, key: Key) -> LookUp | None:
        cached = self._found.get(key)
        return cached if cached is not None and self._age(cached) < self._freshness.fresh_s else None

    async def _fetched(self, key: Key, client: str) -> LookUp:
        """Join the running fetch of a key, or start one when the client has a free slot, which the fetch keeps."""
        if key not in self._fetches:
            slots = self._slots.setdefault(client, Semaphore(MAX_FETCHES_PER_CLIENT, fast_acquire=True))
            if slots.value == 0 and slots.statistics().tasks_waiting >= MAX_WAITING_PER_CLIENT:
                detail = f"{MAX_WAITING_PER_CLIENT} look-ups of this client wait for the market data source"
                raise RateLimited(detail, scope="key", reason="requests", retry_after=WAITING_RETRY_S)
            await slots.acquire()
            with ExitStack() as held:
                held.callback(slots.release)
                self._require_source(key)
                if (fresh := self._fresh(key)) is not None:  # another client's fetch has ended meanwhile
                    return fresh
                if key not in self._fetches:
                    self._start(key, held.pop_all())
        return await asyncio.shield(self._fetches[key])

    def _require_source(self, key: Key) -> None:
        """Raise the error of an earlier fetch that would be the result of another one now."""
        now = self._now()
        if now < self._paused_until:
            wait_s = (self._paused_until - now).total_seconds()
            raise MarketDataRateLimited("the market data source asks for fewer requests", retry_after=wait_s)
        if now < self._unknown.get(key, now):
            raise UnknownTicker(f"the market data source knows no {key[0]}")

    def _start(self, key: Key, slot: ExitStack) -> None:
        self._threads = self._threads or CapacityLimiter(MAX_FETCHES)
        call = to_thread.run_sync(_look_up, self.provider, *key, self._options, self._now(), limiter=self._threads)
        task = asyncio.ensure_future(call)
        task.add_done_callback(lambda done: self._on_fetched(key, done, slot))
        self._fetches[key] = task

    def _on_fetched(self, key: Key, done: asyncio.Future[LookUp], slot: ExitStack) -> None:
        slot.close()
        del self._fetches[key]
        if done.cancelled():
            return
        match done.exception():
            case None:
                _keep(self._found, key, done.result())
            case UnknownTicker():
                _keep(self._unknown, key, self._now() + timedelta(seconds=UNKNOWN_S))
            case MarketDataRateLimited(retry_after=float() | int() as wait_s):
                self._paused_until = self._now() + timedelta(seconds=wait_s)

    def _age(self, found: LookUp) -> float:
        return (self._now() - found.snapshot.source.fetched_at).total_seconds()

    def _dated(self, found: LookUp, *, unavailable: bool = False) -> LookUp:
        source = found.snapshot.source.aged(self._now())
        if unavailable:
            source = source.model_copy(update={"stale": True})
        return replace(found, snapshot=found.snapshot.model_copy(update={"source": source}))


def _keep(cache: OrderedDict[Key, T], key: Key, value: T) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > MAX_SNAPSHOTS:
        cache.popitem(last=False)


def _look_up(provider: Provider, ticker: str, as_of: date | None, options: OptionSource, now: datetime) -> LookUp:
    from app.market.snapshot import look_up  # imports pandas and TA-Lib

    return look_up(provider, ticker, as_of, options, now)
