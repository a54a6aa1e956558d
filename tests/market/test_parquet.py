"""The parquet folder: the bars and the chain of a day, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from app.errors import InsufficientHistory, MarketDataUnavailable, NotConfigured, UnknownTicker
from app.market.parquet import ParquetProvider
from app.market.provider import BAR_COLUMNS

from .synthetic import LAST_DAY, market, option_chain, random_walk


def test_the_committed_market_is_the_script_s_output() -> None:
    folder = Path(__file__).parents[1] / "market_data"
    for name, frame in market().items():
        pd.testing.assert_frame_equal(pd.read_parquet(folder / name), frame, check_dtype=False, rtol=1e-9)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000


def test_bars_have_the_documented_form(synthetic: ParquetProvider) -> None:
    bars = synthetic.bars("syna", date(2024, 3, 3))
    assert tuple(bars.columns) == BAR_COLUMNS
    assert bars.index.name == "date"
    assert bars.index.is_monotonic_increasing
    assert bars.index[-1] == pd.Timestamp("2024-03-01")
    assert set(map(str, bars.dtypes)) == {"float64"}


def test_tickers(synthetic: ParquetProvider) -> None:
    assert synthetic.tickers() == ["SYNA", "SYNB", "SYNC", "SYND", "SYNE", "SYNF", "SYNSHORT"]


def test_an_unknown_ticker_is_reported(synthetic: ParquetProvider) -> None:
    with pytest.raises(UnknownTicker, match=r"^NOPE is not in the market data folder$"):
        synthetic.bars("NOPE", None)


@pytest.mark.parametrize("day", [date(2020, 1, 1), date(2024, 4, 1)])
def test_days_without_bars_are_refused(synthetic: ParquetProvider, day: date) -> None:
    with pytest.raises(InsufficientHistory, match=str(day)):
        synthetic.bars("SYNA", day)


@pytest.mark.parametrize(
    ("day", "found"),
    [
        (None, True),
        (date(2024, 3, 7), False),
        (date(2024, 3, 8), True),
        (date(2024, 3, 13), True),
        (date(2024, 3, 14), False),
    ],
)
def test_a_chain_is_valid_on_its_day_and_five_more(synthetic: ParquetProvider, day: date | None, found: bool) -> None:
    chain = synthetic.chain("synb", day)
    assert (chain is not None) is found
    if chain is not None:
        assert chain.as_of == LAST_DAY.date()
        assert not chain.simulated


def test_a_stock_without_chain_has_none(synthetic: ParquetProvider) -> None:
    assert synthetic.chain("SYNA", None) is None


def test_the_latest_chain_known_by_the_day_is_used(tmp_path: Path) -> None:
    random_walk("SYNB").to_parquet(tmp_path / "ohlcv.parquet")
    chain = option_chain("SYNB", 80.0)
    for days in (0, 2, 4):
        earlier = chain.assign(as_of=LAST_DAY - pd.Timedelta(days=days))
        earlier.to_parquet(tmp_path / f"options_{days}.parquet")
    provider = ParquetProvider(tmp_path)
    answers = {day: provider.chain("SYNB", date(2024, 3, day)) for day in (5, 6, 7, 8)}
    assert {day: chain.as_of.day for day, chain in answers.items() if chain} == {5: 4, 6: 6, 7: 6, 8: 8}


def test_the_file_with_the_latest_bar_is_used(tmp_path: Path) -> None:
    walk = random_walk("SYNA")
    walk.iloc[:-10].to_parquet(tmp_path / "ohlcv_a.parquet")
    walk.drop(columns="adj_close").iloc[-200:].to_parquet(tmp_path / "ohlcv_b.parquet")
    provider = ParquetProvider(tmp_path)
    assert len(provider.bars("SYNA", None)) == 200
    assert len(provider.bars("SYNA", walk["date"].iloc[-11].date())) == len(walk) - 10


def test_concurrent_requests_read_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_walk("SYNA").to_parquet(tmp_path / "ohlcv.parquet")
    read, reads = pd.read_parquet, list[Path]()

    def counted(path: Path) -> pd.DataFrame:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(pd, "read_parquet", counted)
    provider = ParquetProvider(tmp_path)
    assert reads == []
    with ThreadPoolExecutor(8) as pool:
        lengths = set(pool.map(lambda _: len(provider.bars("SYNA", None)), range(16)))
    assert len(lengths) == 1
    assert len(reads) == 1


def test_an_empty_folder_is_not_configured(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="CONVICTION_MARKET_DIR"):
        ParquetProvider(tmp_path)


def test_broken_files_are_reported_without_their_folder(tmp_path: Path) -> None:
    (tmp_path / "ohlcv.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(MarketDataUnavailable, match=r"^ohlcv\.parquet in the market data folder cannot be read$"):
        ParquetProvider(tmp_path).bars("SYNA", None)


def test_missing_columns_are_reported(tmp_path: Path) -> None:
    random_walk("SYNA").drop(columns=["high", "volume"]).to_parquet(tmp_path / "ohlcv.parquet")
    with pytest.raises(MarketDataUnavailable, match=r"lacks high, volume$"):
        ParquetProvider(tmp_path).tickers()


def test_two_files_years_apart_are_not_joined(real: ParquetProvider) -> None:
    assert real.bars("AAPL", date(2023, 6, 1)).index[0] == pd.Timestamp("2023-01-03")
    assert real.bars("AAPL", date(2017, 3, 1)).index[0] == pd.Timestamp("2015-03-20")
