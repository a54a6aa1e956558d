"""Validation of a folder of market data: every problem with its file and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from app.errors import MarketDataUnavailable, NotConfigured
from app.market import open_provider
from app.market.inspection import find_problems
from app.market.parquet import ParquetProvider

from .synthetic import option_chain, random_walk

WALK = random_walk("SYNA")


def test_the_committed_market_has_no_problems() -> None:
    assert find_problems(Path(__file__).parents[1] / "market_data") == []


def test_a_missing_and_an_empty_folder_are_reported(tmp_path: Path) -> None:
    assert find_problems(tmp_path / "absent") == ["no such folder"]
    assert find_problems(tmp_path) == ["no file ohlcv*.parquet"]


def test_all_problems_of_all_files_are_reported(tmp_path: Path) -> None:
    WALK.drop(columns=["high", "volume"]).assign(close="dear").to_parquet(tmp_path / "ohlcv_a.parquet")
    WALK.head(0).to_parquet(tmp_path / "ohlcv_b.parquet")
    (tmp_path / "ohlcv_c.parquet").write_bytes(b"PAR1 no")
    WALK.assign(adj_close="?", date=7).to_parquet(tmp_path / "ohlcv_d.parquet")
    chain = option_chain("SYNA", 80.0).rename(columns={"impliedVolatility": "iv"}).assign(side=1)
    chain.to_parquet(tmp_path / "options.parquet")
    found = find_problems(tmp_path)
    assert [fault for fault in found if "ohlcv_c" not in fault] == [
        "ohlcv_a.parquet: column high is missing",
        "ohlcv_a.parquet: column close is large_string, not a number",
        "ohlcv_a.parquet: column volume is missing",
        "ohlcv_b.parquet: no rows",
        "ohlcv_d.parquet: column date is int64, not a date",
        "ohlcv_d.parquet: column adj_close is large_string, not a number",
        "options.parquet: column side is int64, not text",
        "options.parquet: column impliedVolatility is missing",
    ]
    assert any(fault.startswith("ohlcv_c.parquet: cannot be read: ") for fault in found)


def test_invalid_dates_are_counted(tmp_path: Path) -> None:
    days = WALK["date"].dt.strftime("%Y-%m-%d")
    days.iloc[[3, 5]] = ["2024-02-30", "soon"]
    WALK.assign(date=days).to_parquet(tmp_path / "ohlcv.parquet")
    [fault] = find_problems(tmp_path)
    assert fault == "ohlcv.parquet: column date has 2 values that are not dates, the first '2024-02-30'"


@pytest.mark.parametrize(
    "habit",
    [
        lambda walk: walk.assign(date=walk["date"].dt.strftime("%Y-%m-%d")),
        lambda walk: walk.assign(date=walk["date"].dt.date),
        lambda walk: walk.assign(date=walk["date"].dt.tz_localize("UTC")),
        lambda walk: walk.assign(ticker=walk["ticker"].astype("category")),
        lambda walk: walk.astype({"close": "float32", "volume": "float64"}),
        lambda walk: walk.drop(columns="adj_close"),
    ],
    ids=["days written out", "dates", "with a time zone", "categories", "other widths", "without adj_close"],
)
def test_a_valid_folder_can_be_read(tmp_path: Path, habit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    habit(WALK).to_parquet(tmp_path / "ohlcv.parquet")
    assert find_problems(tmp_path) == []
    assert len(ParquetProvider(tmp_path).bars("SYNA", None)) == len(WALK)


WRONG_BARS = {
    "date": [
        WALK["date"].dt.strftime("%d/%m/%Y"),
        WALK["date"].dt.strftime("%d.%m.%Y"),
        WALK["date"].dt.strftime("%Y%m%d").astype("int64"),
        WALK["date"].dt.strftime("%Y"),
        pd.Series(pd.to_datetime(WALK["date"].dt.strftime("%Y%m%d").astype("int64"))),
        WALK["date"].where(WALK.index > 0),
    ],
    "volume": [WALK["volume"].map("{:,}".format), WALK["volume"] * -1],
    "close": [WALK["close"].astype("str")],
    "ticker": [WALK["ticker"] + " "],
}


@pytest.mark.parametrize(
    ("column", "values"), [(name, values) for name, several in WRONG_BARS.items() for values in several]
)
def test_what_would_be_read_wrongly_is_refused_at_start_up(
    tmp_path: Path, column: str, values: pd.Series[object]
) -> None:
    WALK.assign(**{column: values}).to_parquet(tmp_path / "ohlcv_a.parquet")
    with pytest.raises(NotConfigured, match=rf"ohlcv_a\.parquet: column {column} "):
        open_provider("parquet", tmp_path)
    with pytest.raises(MarketDataUnavailable, match=rf"ohlcv_a\.parquet: column {column} "):
        ParquetProvider(tmp_path).tickers()


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("side", lambda chain: chain["side"].str.upper()),
        ("impliedVolatility", lambda chain: chain["impliedVolatility"] * 100),
        ("expiry", lambda chain: chain["expiry"].dt.strftime("%d/%m/%Y")),
        ("as_of", lambda chain: chain["as_of"].dt.strftime("%m/%d/%Y")),
        ("openInterest", lambda chain: chain["openInterest"].map("{:,}".format)),
    ],
)
def test_chains_that_would_be_read_wrongly_are_refused_at_start_up(
    tmp_path: Path, column: str, change: Callable[[pd.DataFrame], object]
) -> None:
    WALK.to_parquet(tmp_path / "ohlcv.parquet")
    chain = option_chain("SYNA", 80.0)
    chain.assign(**{column: change(chain)}).to_parquet(tmp_path / "options.parquet")
    with pytest.raises(NotConfigured, match=rf"options\.parquet: column {column} "):
        open_provider("parquet", tmp_path)
