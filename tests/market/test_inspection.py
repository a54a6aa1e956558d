"""A folder of market data is looked through whole: every fault with its file and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from app.market.inspection import problems
from app.market.parquet import ParquetProvider

from .synthetic import option_chain, random_walk

WALK = random_walk("SYNA")


def test_the_committed_market_has_no_faults() -> None:
    assert problems(Path(__file__).parents[1] / "market_data") == []


def test_no_folder_and_an_empty_one_are_told(tmp_path: Path) -> None:
    assert problems(tmp_path / "absent") == ["no such folder"]
    assert problems(tmp_path) == ["no ohlcv*.parquet in it"]


def test_every_fault_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    WALK.drop(columns=["high", "volume"]).assign(close="dear").to_parquet(tmp_path / "ohlcv_a.parquet")
    WALK.head(0).to_parquet(tmp_path / "ohlcv_b.parquet")
    (tmp_path / "ohlcv_c.parquet").write_bytes(b"PAR1 no")
    WALK.assign(adj_close="?", date=7).to_parquet(tmp_path / "ohlcv_d.parquet")
    chain = option_chain("SYNA", 80.0).rename(columns={"impliedVolatility": "iv"}).assign(side=1)
    chain.to_parquet(tmp_path / "options.parquet")
    found = problems(tmp_path)
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


def test_days_that_are_no_dates_are_counted(tmp_path: Path) -> None:
    days = WALK["date"].dt.strftime("%Y-%m-%d")
    days.iloc[[3, 5]] = ["2024-02-30", "soon"]
    WALK.assign(date=days).to_parquet(tmp_path / "ohlcv.parquet")
    [fault] = problems(tmp_path)
    assert fault == "ohlcv.parquet: column date has 2 values that are no dates, the first '2024-02-30'"


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
def test_what_is_let_through_can_be_read(tmp_path: Path, habit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    habit(WALK).to_parquet(tmp_path / "ohlcv.parquet")
    assert problems(tmp_path) == []
    assert len(ParquetProvider(tmp_path).bars("SYNA", None)) == len(WALK)
