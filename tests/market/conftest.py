"""The two markets of the tests: the committed synthetic one, and a folder of real data where it is available."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.market.parquet import ParquetProvider

SYNTHETIC = Path(__file__).parents[1] / "market_data"


@pytest.fixture(scope="session")
def synthetic() -> ParquetProvider:
    return ParquetProvider(SYNTHETIC)


@pytest.fixture(scope="session")
def real_folder() -> Path:
    folder = os.environ.get("CONVICTION_MARKET_DIR")
    if not folder:
        pytest.skip("CONVICTION_MARKET_DIR names no folder of real market data")
    missing = [
        name
        for name in ("ohlcv_2015_2017.parquet", "ohlcv_AAPL_2023_2026.parquet", "options_AAPL.parquet")
        if not (Path(folder) / name).is_file()
    ]
    if missing:
        pytest.skip(f"the folder that CONVICTION_MARKET_DIR names lacks {', '.join(missing)}")
    return Path(folder)


@pytest.fixture(scope="session")
def real(real_folder: Path) -> ParquetProvider:
    return ParquetProvider(real_folder)
