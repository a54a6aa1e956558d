"""Snapshots under load: one fetch a stock, used for a while, and used again, marked, where a fetch fails."""

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
from app.market.snapshots import Freshness, Snapshots

FRESHNESS = Freshness(fresh_s=60, stale_s=3600)


class Source:
    """The sample market; counts fetches, waits while it is told to, and fails with what it is told to."""

    name = "sample"

    def __init__(self) -> None:
        self.fetches = 0
        self.open = threading.Event()
        self.open.set()
        self.error: MarketError | None = None
        self._sample = SampleProvider()

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        self.fetches += 1
        assert self.open.wait(20)
        if self.error is not None:
            raise self.error
        return self._sample.bars(ticker, as_of)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        return self._sample.chain(ticker, as_of)


class Clock:
    """Real time, and what is added to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def market(source: Source, clock: Clock) -> Snapshots:
    return Snapshots(source, "simulated", FRESHNESS, clock)


async def test_a_snapshot_is_used_while_it_is_fresh_and_says_its_age(
    market: Snapshots, source: Source, clock: Clock
) -> None:
    first = await market.of("msft", None)
    clock.ahead = timedelta(seconds=59)
    second = await market.of("MSFT", None)
    assert source.fetches == 1
    assert second.metrics == first.metrics
    assert 59 <= second.source.age_s < 60
    assert not second.source.stale
    clock.ahead = timedelta(seconds=61)
    await market.of("MSFT", None)
    assert source.fetches == 2


async def test_days_are_kept_apart(market: Snapshots, source: Source) -> None:
    latest = await market.of("MSFT", None)
    past = await market.of("MSFT", date(2012, 6, 1))
    assert source.fetches == 2
    assert past.metrics.as_of != latest.metrics.as_of


async def test_however_many_ask_at_once_one_fetch_is_made(market: Snapshots, source: Source) -> None:
    source.open.clear()
    pending = [asyncio.create_task(market.of("MSFT", None)) for _ in range(100)]
    await asyncio.sleep(0.05)
    source.open.set()
    found = await asyncio.gather(*pending)
    assert source.fetches == 1
    assert len({snapshot.model_dump_json(exclude={"source"}) for snapshot in found}) == 1


async def test_one_who_leaves_takes_the_fetch_from_nobody(market: Snapshots, source: Source) -> None:
    source.open.clear()
    leaving, staying = asyncio.create_task(market.of("MSFT", None)), asyncio.create_task(market.of("MSFT", None))
    await asyncio.sleep(0.05)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    source.open.set()
    assert (await staying).ticker == "MSFT"
    assert source.fetches == 1


@pytest.mark.parametrize("error", [MarketDataUnavailable("away"), MarketDataRateLimited("fewer")])
async def test_a_source_that_is_away_is_made_up_for_by_what_it_said_and_marked(
    market: Snapshots, source: Source, clock: Clock, error: MarketError
) -> None:
    first = await market.of("MSFT", None)
    source.error, clock.ahead = error, timedelta(seconds=600)
    again = await market.of("MSFT", None)
    assert again.metrics == first.metrics
    assert again.source.stale
    assert again.source.age_s >= 600
    source.error = None
    assert not (await market.of("MSFT", None)).source.stale


async def test_what_is_too_old_is_no_answer(market: Snapshots, source: Source, clock: Clock) -> None:
    await market.of("MSFT", None)
    source.error, clock.ahead = MarketDataUnavailable("away"), timedelta(seconds=3601)
    with pytest.raises(MarketDataUnavailable):
        await market.of("MSFT", None)


async def test_a_ticker_that_has_become_unknown_is_unknown(market: Snapshots, source: Source, clock: Clock) -> None:
    await market.of("MSFT", None)
    source.error, clock.ahead = UnknownTicker("MSFT"), timedelta(seconds=61)
    with pytest.raises(UnknownTicker):
        await market.of("MSFT", None)


async def test_a_failure_is_not_remembered(market: Snapshots, source: Source) -> None:
    source.error = MarketDataUnavailable("away")
    with pytest.raises(MarketDataUnavailable):
        await market.of("MSFT", None)
    source.error = None
    assert (await market.of("MSFT", None)).ticker == "MSFT"


async def test_the_ones_not_asked_for_longest_go_first(
    market: Snapshots, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 2)
    for ticker in ("MSFT", "IBM", "MSFT", "GOOG"):
        await market.of(ticker, None)
    assert source.fetches == 3
    await market.of("MSFT", None)
    assert source.fetches == 3
    await market.of("IBM", None)
    assert source.fetches == 4
