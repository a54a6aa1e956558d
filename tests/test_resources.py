"""Resources: built from the settings; the market's fallback is named, never silent."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pydantic import SecretStr

from app import resources
from app.accounting.admission import Leader
from app.auth.principal import local_principal
from app.backends.base import Backend
from app.completions.request import RequestOptions
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.fingerprint import EXAMPLE
from app.deadline import Deadline
from app.errors import ConvictionError, MarketDataRateLimited, MarketDataUnavailable
from app.market import open_provider
from app.market.bars import last_date
from app.market.dated_sample import SAMPLE_END
from app.market.provider import Provider
from app.pricing.limits import Estimate, Limits
from app.pricing.prices import CapacityPrice
from app.recommend import Question
from app.resources import open_market, open_resources
from app.settings.gateway import Settings
from app.stores.connection import check, open_redis
from app.telemetry.request_timer import RequestTimer
from tests.doubles import PRICES, USAGE, BrokenProvider, CountingBackend, ledger_key, opened_with


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> BrokenProvider:
    """A Yahoo Finance that fails."""
    broken = BrokenProvider(MarketDataUnavailable("Yahoo Finance cannot be reached"))

    def opened(kind: str, *rest: object) -> Provider:
        return broken if kind == "yfinance" else open_provider(kind)

    monkeypatch.setattr(resources, "open_provider", opened)
    return broken


async def test_without_a_fallback_yahoo_is_not_even_tried(yahoo: BrokenProvider) -> None:
    assert await open_market(Settings(market="yfinance")) is yahoo
    assert yahoo.asked == 0


async def test_the_market_fallback_is_used_and_logged(yahoo: BrokenProvider, caplog: pytest.LogCaptureFixture) -> None:
    provider = await open_market(Settings(market="yfinance", market_fallback="sample"))
    assert provider.name == "sample"
    assert "Yahoo Finance cannot be reached: using the sample market instead" in caplog.text


async def test_a_dated_fallback_needs_a_day(yahoo: BrokenProvider) -> None:
    provider = await open_market(Settings(market="yfinance", market_fallback="dated-sample"))
    assert provider.name == "sample"
    with pytest.raises(MarketDataUnavailable, match="as_of up to that day, or metrics"):
        provider.bars("AAPL", None)
    assert last_date(provider.bars("AAPL", date(2013, 3, 4))) == SAMPLE_END
    chain = provider.chain("AAPL", SAMPLE_END)
    assert chain is not None and chain.simulated


@pytest.mark.parametrize("error", [MarketDataRateLimited("slower"), None])
async def test_a_yahoo_that_answers_is_served(yahoo: BrokenProvider, error: ConvictionError | None) -> None:
    yahoo.error = error  # type: ignore[assignment]
    if error is None:
        yahoo.bars = lambda ticker, as_of: None  # type: ignore[method-assign,assignment,return-value]
    assert await open_market(Settings(market="yfinance", market_fallback="sample")) is yahoo


async def test_everything_is_built_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.model_validate(
        {"market": "sample", "vllm_urls": "http://127.0.0.1:1/v1,http://127.0.0.1:2/v1", "openai_api_key": "sk-1"}
    )
    price = CapacityPrice(Decimal("0.25"), Decimal(1000))
    async with open_resources(settings, {"mistral": price}) as opened:
        value = opened.collectors.registry.get_sample_value
        assert value("conviction_hosting_price_usd_per_hour", {"backend": "mistral"}) == 0.25
        assert value("conviction_backend_replicas", {"backend": "mistral"}) == 2
        assert set(opened.upstreams) == {"mistral", "gpt-4"}
        assert opened.market.provider.name == "sample"
        await check(opened.redis)
    assert "shut" in caplog.text  # the default model's announced end


async def test_on_exit_all_calls_have_ended_and_are_charged(own_store: str) -> None:
    """Including calls without waiters, and a chat that is being cancelled."""
    mistral, go = CountingBackend("mistral"), asyncio.Event()
    mistral.go = go
    backends: dict[BackendName, Backend] = {"mistral": mistral, "gpt-4": CountingBackend("gpt-4")}
    options = RequestOptions(local_principal(Limits()), Deadline.after(20))
    async with opened_with(own_store, backends)(Settings(market="sample"), {}) as opened:
        question = Question("SNPS", None, EXAMPLE, "brief")
        pending = asyncio.create_task(
            opened.recommender.ask(question, opened.upstreams["mistral"], options, RequestTimer())
        )
        await mistral.began()
        estimate = Estimate(10, 1000)
        admission = await opened.reservations.admit("chat", options.principal, opened.upstreams["gpt-4"], estimate)
        assert isinstance(admission, Leader)
        open_booking = opened.reservations.open("chat", options.principal, opened.upstreams["gpt-4"], admission)
        reservation = await open_booking.__aenter__()
        reservation.usage = USAGE
        asyncio.get_running_loop().call_later(0.2, go.set)
        asyncio.get_running_loop().call_later(
            0.4, lambda: asyncio.ensure_future(open_booking.__aexit__(None, None, None))
        )
    assert pending.done()
    assert (await pending).recommendation.source == "model"
    async with open_redis(SecretStr(own_store)) as redis:
        for name in BACKEND_NAMES:
            sums = await redis.hgetall(ledger_key(name, datetime.now(UTC)))
            assert int(sums["nano_usd"]) == PRICES[name].cost(USAGE).nano_usd
