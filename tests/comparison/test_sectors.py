"""The universe file: what it states, and what is refused with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.comparison.sectors import read_sectors
from app.contract.features import normalized_ticker
from app.errors import InvalidSettings
from app.main import create_app
from app.settings.gateway import Settings


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "universe.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_sectors_are_read_by_ticker(tmp_path: Path) -> None:
    rows = (
        'name,ticker,sector,indices\n"Agilent, Inc.",A, Health Care ,S&P 500\nArm,ARM,,X\n\nBrown,BF-B,"Food, etc.",X\n'
    )
    sectors = read_sectors(written(tmp_path, "\ufeff" + rows.replace("\n", "\r\n")))
    assert sectors == {"A": "Health Care", "ARM": "", "BF.B": "Food, etc."}
    assert normalized_ticker("bf-b") in sectors


def test_a_repeated_row_is_the_same_statement(tmp_path: Path) -> None:
    assert read_sectors(written(tmp_path, "ticker,sector\nA,Energy\na,Energy\n")) == {"A": "Energy"}


def test_without_a_file_there_are_none() -> None:
    assert read_sectors(None) is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        (b"ticker,sector\nA,\xff\n", "cannot be read"),
        ('ticker,sector\nA,"Energy\n', "cannot be read"),
        ("", "line 1 has no column ticker and no column sector"),
        ("ticker,name\nA,Agilent\n", "line 1 has no column sector"),
        ("ticker,sector\nA,Energy\n,Energy\n", "line 3, column ticker"),
        ("ticker,sector\n\nA B,Energy\n", "line 3, column ticker"),
        ("ticker,sector\nA,Energy\nB\n", "line 3 has more or fewer cells"),
        ("ticker,name,sector\nA,Agilent, Inc.,Energy\n", "line 2 has more or fewer cells"),
        ("ticker,sector\nBF.B,Energy\nC,Energy\nBF-B,Utilities\n", "line 4, column sector"),
    ],
)
def test_an_invalid_file_prevents_the_start_and_is_said_in_one_line(
    tmp_path: Path, content: str | bytes | None, complaint: str
) -> None:
    path = tmp_path / "universe.csv" if content is None else written(tmp_path, content)
    with pytest.raises(InvalidSettings, match=f"^CONVICTION_UNIVERSE_FILE: .*{complaint}") as refusal:
        create_app(Settings.model_validate({"universe_file": path}))
    assert "\n" not in refusal.value.detail and str(tmp_path) not in refusal.value.detail
