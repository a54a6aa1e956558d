from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from training.dataset.market import UnusableMarket, open_market


def test_faults_of_all_files_are_reported_under_the_folder(tmp_path: Path, synthetic_market: Path) -> None:
    bars = pd.read_parquet(synthetic_market / "ohlcv_synthetic.parquet")
    bars.drop(columns="open").to_parquet(tmp_path / "ohlcv_a.parquet")
    bars.assign(volume="many").to_parquet(tmp_path / "ohlcv_b.parquet")
    with pytest.raises(UnusableMarket) as caught:
        open_market(tmp_path)
    folder, *faults = str(caught.value).splitlines()
    assert folder == f"{tmp_path}:"
    assert [fault.split(" is ")[0] for fault in faults] == [
        "  ohlcv_a.parquet: column open",
        "  ohlcv_b.parquet: column volume",
    ]


def test_bars_damaged_behind_a_sound_schema_are_reported(tmp_path: Path, synthetic_market: Path) -> None:
    path = tmp_path / "ohlcv_synthetic.parquet"
    shutil.copyfile(synthetic_market / path.name, path)
    content = bytearray(path.read_bytes())
    content[100:20_000] = bytes(19_900)
    path.write_bytes(content)
    with pytest.raises(UnusableMarket, match=r"ohlcv_synthetic\.parquet in the market data folder cannot be read"):
        open_market(tmp_path)
