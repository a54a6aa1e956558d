"""The snapshot cache: shared fetches, freshness, and stale snapshots while a source is unavailable."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from app.errors import MarketDataRateLimited, MarketDataUnavailable, MarketError, UnknownTicker
from app.market import snapshots
from app.market.provider import Chain
from app.market.sample import SampleProvider
from app.market.snapshots import Freshness, SnapshotCache

FRESHNESS = Freshness(fresh_s=60, stale_s=3600)


class Source:
    """The sample market with a counter of fetches, a switch that blocks them and an error to raise."""

    name = "sample"

    def __init__(self) -> None:
        self.fetches = 0
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.error: MarketError | None = None
        self._sample = SampleProvider()

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        self.fetches += 1
        assert self.unblocked.wait(20)
        if self.error is not None:
            raise self.error
        return self._sample.bars(ticker, as_of)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        return self._sample.chain(ticker, as_of)


class Clock:
    """The evening of the sample market's last session, plus the time since, plus an offset."""

    def __init__(self) -> None:
        self.ahead, self._began = timedelta(), datetime.now(UTC)

    def __call__(self) -> datetime:
        return datetime(2013, 3, 1, 22, tzinfo=UTC) + (datetime.now(UTC) - self._began) + self.ahead


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def market(source: Source, clock: Clock) -> SnapshotCache:
    return SnapshotCache(source, "simulated", FRESHNESS, clock)


async def test_a_fresh_snapshot_is_reused_and_states_its_age(
    market: SnapshotCache, source: Source, clock: Clock
) -> None:
    first = await market.get("msft", None)
    clock.ahead = timedelta(seconds=59)
    second = await market.get("MSFT", None)
    assert source.fetches == 1
    assert second.metrics == first.metrics
    assert 59 <= second.source.age_s < 60
    assert not second.source.stale
    clock.ahead = timedelta(seconds=61)
    await market.get("MSFT", None)
    assert source.fetches == 2


async def test_each_day_has_its_snapshot(market: SnapshotCache, source: Source) -> None:
    latest = await market.get("MSFT", None)
    past = await market.get("MSFT", date(2012, 6, 1))
    assert source.fetches == 2
    assert past.metrics.as_of != latest.metrics.as_of


async def test_concurrent_requests_share_one_fetch(market: SnapshotCache, source: Source) -> None:
    source.unblocked.clear()
    pending = [asyncio.create_task(market.get("MSFT", None)) for _ in range(100)]
    await asyncio.sleep(0.05)
    source.unblocked.set()
    found = await asyncio.gather(*pending)
    assert source.fetches == 1
    assert len({snapshot.model_dump_json(exclude={"source"}) for snapshot in found}) == 1


async def test_a_cancelled_caller_does_not_cancel_the_fetch(market: SnapshotCache, source: Source) -> None:
    source.unblocked.clear()
    cancelled, other = asyncio.create_task(market.get("MSFT", None)), asyncio.create_task(market.get("MSFT", None))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    source.unblocked.set()
    assert (await other).ticker == "MSFT"
    assert source.fetches == 1


@pytest.mark.parametrize("error", [MarketDataUnavailable("away"), MarketDataRateLimited("fewer")])
async def test_an_unavailable_source_is_replaced_by_a_stale_snapshot(
    market: SnapshotCache, source: Source, clock: Clock, error: MarketError
) -> None:
    first = await market.get("MSFT", None)
    source.error, clock.ahead = error, timedelta(seconds=600)
    again = await market.get("MSFT", None)
    assert again.metrics == first.metrics
    assert again.source.stale
    assert again.source.age_s >= 600
    source.error = None
    assert not (await market.get("MSFT", None)).source.stale


async def test_a_snapshot_past_its_limit_is_not_served(market: SnapshotCache, source: Source, clock: Clock) -> None:
    await market.get("MSFT", None)
    source.error, clock.ahead = MarketDataUnavailable("away"), timedelta(seconds=3601)
    with pytest.raises(MarketDataUnavailable):
        await market.get("MSFT", None)


async def test_an_unknown_ticker_is_not_served_from_the_cache(
    market: SnapshotCache, source: Source, clock: Clock
) -> None:
    await market.get("MSFT", None)
    source.error, clock.ahead = UnknownTicker("MSFT"), timedelta(seconds=61)
    with pytest.raises(UnknownTicker):
        await market.get("MSFT", None)


async def test_a_failure_is_not_cached(market: SnapshotCache, source: Source) -> None:
    source.error = MarketDataUnavailable("away")
    with pytest.raises(MarketDataUnavailable):
        await market.get("MSFT", None)
    source.error = None
    assert (await market.get("MSFT", None)).ticker == "MSFT"


async def test_the_least_recently_used_are_evicted(
    market: SnapshotCache, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 2)
    for ticker in ("MSFT", "IBM", "MSFT", "GOOG"):
        await market.get(ticker, None)
    assert source.fetches == 3
    await market.get("MSFT", None)
    assert source.fetches == 3
    await market.get("IBM", None)
    assert source.fetches == 4
