"""Validation of a folder of market data: every problem with its file and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

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
