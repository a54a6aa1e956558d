"""Look-ups of tickers: limited before they are made, remembered when they fail, and shared fairly among clients."""

from __future__ import annotations

import asyncio
import threading
from datetime import date

import pytest

from app.errors import MarketDataRateLimited, MarketError, RateLimited, UnknownTicker
from app.market.snapshots import MAX_FETCHES_PER_CLIENT, MAX_WAITING_PER_CLIENT, Freshness, SnapshotCache
from tests.doubles import ask, gateway

from .test_snapshots import Clock, Source


class Failing(Source):
    """A source that blocks and fails for all tickers but MSFT."""

    def __init__(self, error: MarketError) -> None:
        super().__init__()
        self._failure, self.requested, self._lock = error, list[str](), threading.Lock()

    def bars(self, ticker: str, as_of: date | None):  # type: ignore[no-untyped-def]
        with self._lock:
            self.requested.append(ticker)
        if ticker == "MSFT":
            return self._sample.bars(ticker, as_of)
        assert self.unblocked.wait(20)
        raise self._failure


async def test_a_request_limit_is_checked_before_the_source_is_asked(own_store: str) -> None:
    source = Failing(UnknownTicker("unknown"))
    async with gateway(own_store, provider=source, key_requests_per_minute=1) as running:
        answers = [await ask(running, {"ticker": f"NO{chr(65 + n)}"}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [404, 429, 429, 429, 429, 429]
    assert source.requested == ["NOA"]


async def test_a_look_up_and_its_call_count_as_one_request(own_store: str) -> None:
    async with gateway(own_store, key_requests_per_minute=2) as running:
        answers = [await ask(running, {"ticker": ticker, "detail": "brief"}) for ticker in ("MSFT", "IBM", "AAPL")]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_an_unknown_ticker_is_not_requested_again_for_a_while() -> None:
    source, clock = Failing(UnknownTicker("unknown")), Clock()
    market = SnapshotCache(source, "none", Freshness(60, 3600), clock)
    for _ in range(5):
        with pytest.raises(UnknownTicker):
            await market.get("NOPE", None)
    assert source.requested == ["NOPE"]


async def test_a_source_that_limits_its_rate_is_left_alone_for_all_tickers() -> None:
    source = Failing(MarketDataRateLimited("fewer", retry_after=60.0))
    market = SnapshotCache(source, "none", Freshness(60, 3600), Clock())
    for number in range(5):
        with pytest.raises(MarketDataRateLimited) as refused:
            await market.get(f"NO{number}", None)
        assert 59 < (refused.value.retry_after or 0) <= 60
    assert source.requested == ["NO0"]


async def test_one_client_does_not_occupy_every_slot() -> None:
    source = Failing(UnknownTicker("unknown"))
    source.unblocked.clear()
    market = SnapshotCache(source, "none", Freshness(60, 3600), Clock())
    slow = [asyncio.create_task(market.get(f"NO{number}", None, "slow")) for number in range(40)]
    await asyncio.sleep(0.05)
    for task in slow[:20]:
        task.cancel()  # an abandoned fetch keeps its slot
    await asyncio.sleep(0.05)
    assert len(source.requested) == MAX_FETCHES_PER_CLIENT
    assert (await asyncio.wait_for(market.get("MSFT", None, "other"), 10)).ticker == "MSFT"
    source.unblocked.set()
    results = await asyncio.gather(*slow, return_exceptions=True)
    assert all(isinstance(result, UnknownTicker | asyncio.CancelledError) for result in results)


async def test_the_look_ups_of_one_client_that_wait_are_limited() -> None:
    source = Failing(UnknownTicker("unknown"))
    source.unblocked.clear()
    market = SnapshotCache(source, "none", Freshness(60, 3600), Clock())
    accepted = MAX_FETCHES_PER_CLIENT + MAX_WAITING_PER_CLIENT
    pending = [asyncio.create_task(market.get(f"NO{number}", None, "one")) for number in range(accepted + 20)]
    await asyncio.sleep(0.05)
    refused = [task for task in pending if task.done()]
    assert refused == pending[accepted:]
    assert all(isinstance(task.exception(), RateLimited) for task in refused)
    assert (await asyncio.wait_for(market.get("MSFT", None, "other"), 10)).ticker == "MSFT"
    pending[-21].cancel()
    await asyncio.sleep(0)
    pending.append(asyncio.create_task(market.get("NEW", None, "one")))  # in the place of the one that left
    await asyncio.sleep(0.05)
    source.unblocked.set()
    results = await asyncio.gather(*pending[:accepted], pending[-1], return_exceptions=True)
    assert all(isinstance(result, UnknownTicker | asyncio.CancelledError) for result in results)


async def test_the_refusal_of_a_look_up_states_when_to_retry(own_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.market.snapshots.MAX_WAITING_PER_CLIENT", 1)
    source = Failing(UnknownTicker("unknown"))
    source.unblocked.clear()
    async with gateway(own_store, provider=source) as running:
        asked = [asyncio.create_task(ask(running, {"ticker": f"NO{chr(65 + n)}"})) for n in range(5)]
        (refused,), pending = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        source.unblocked.set()
        answers = await asyncio.gather(*pending)
    response = refused.result()
    assert (response.status_code, response.json()["code"], response.headers["retry-after"]) == (
        429,
        "rate_limited",
        "5",
    )
    assert [answer.status_code for answer in answers] == [404] * 4
