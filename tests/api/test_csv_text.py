"""CSV that is read back as it was written, and whose texts no spreadsheet runs."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.csv_text import FORMULA, csv_text

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n"), min_size=1)


@given(st.lists(TEXT, min_size=1))
def test_cells_are_read_back_and_none_begins_a_formula(cells: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(csv_text([cells]), newline=""))
    assert not any(cell.startswith(FORMULA) for cell in read)
    assert [cell.removeprefix("'") for cell in read] == [cell.removeprefix("'") for cell in cells]


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")'])
def test_formulas_are_text(formula: str) -> None:
    (read,) = csv.reader(io.StringIO(csv_text([[formula, -1.5, None]]), newline=""))
    assert read == [f"'{formula}", "-1.5", ""]
