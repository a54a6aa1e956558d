"""The sample market, and the providers by name."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from app.errors import NotConfigured, UnknownTicker
from app.market import open_provider
from app.market.dated_sample import DatedSample
from app.market.parquet import ParquetProvider
from app.market.sample import TICKERS, SampleProvider
from app.market.snapshot import take_snapshot

from .conftest import SYNTHETIC


@pytest.mark.parametrize("ticker", sorted(set(TICKERS) - {"FB"}))
def test_a_sample_stock_has_every_metric(ticker: str) -> None:
    found = take_snapshot(SampleProvider(), ticker)
    assert found.metrics.missing() == []
    assert found.metrics.as_of == date(2013, 3, 1)
    assert found.source.provider == "sample"
    assert found.source.simulated == ["options"]


def test_other_tickers_are_unknown() -> None:
    with pytest.raises(UnknownTicker, match="which has AAPL, FB, GOOG, IBM, MSFT"):
        SampleProvider().bars("SNPS", None)


def test_the_providers_that_can_list_their_tickers_do() -> None:
    assert open_provider("sample").tickers() == DatedSample(SampleProvider()).tickers() == TICKERS
    assert open_provider("parquet", SYNTHETIC).tickers() == sorted(ParquetProvider(SYNTHETIC).tickers()) != []
    assert open_provider("yfinance").tickers() is None


def test_providers_by_name() -> None:
    assert open_provider("sample").name == "sample"
    assert open_provider("parquet", SYNTHETIC).name == "parquet"
    assert open_provider("yfinance").name == "yfinance"


@pytest.mark.parametrize(
    ("kind", "folder", "named"),
    [
        ("parquet", None, "CONVICTION_MARKET_DIR"),
        ("parquet", Path("/nowhere"), "CONVICTION_MARKET_DIR"),
        ("bloomberg", None, "CONVICTION_MARKET is 'bloomberg'; set it to one of yfinance, parquet, sample"),
    ],
)
def test_what_cannot_be_opened_is_reported(kind: str, folder: Path | None, named: str) -> None:
    with pytest.raises(NotConfigured, match=named):
        open_provider(kind, folder)
