"""The universe file: the sector of each ticker."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.contract.features import Ticker, normalized_ticker
from app.errors import InvalidSettings

NAME = "CONVICTION_UNIVERSE_FILE"
COLUMNS = ("ticker", "sector")
SYMBOL = TypeAdapter[str](Ticker)

Sectors = Mapping[str, str]
"""The sector by `normalized_ticker` of the ticker, "" where the file states none."""


def read_sectors(path: Path | None) -> Sectors | None:
    """Return the sectors of a CSV file with the columns `ticker` and `sector`; None without a file.

    Raises `InvalidSettings`, which names the line and the column.
    """
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _sectors(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InvalidSettings(f"{NAME}: the file cannot be read as CSV in UTF-8") from None


def _sectors(rows: csv.DictReader[str]) -> Sectors:
    absent = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if absent:
        raise InvalidSettings(f"{NAME}: line 1 has no column {' and no column '.join(absent)}")
    sectors: dict[str, str] = {}
    for row in rows:
        where = f"{NAME}: line {rows.line_num}"
        if None in row or None in row.values():
            raise InvalidSettings(f"{where} has more or fewer cells than line 1")
        ticker, sector = (row[column].strip() for column in COLUMNS)
        if not _is_symbol(ticker):
            raise InvalidSettings(f"{where}, column ticker: must be a ticker symbol")
        if sectors.setdefault(normalized_ticker(ticker), sector) != sector:
            raise InvalidSettings(f"{where}, column sector: differs from an earlier line of the ticker")
    return sectors


def _is_symbol(text: str) -> bool:
    try:
        return bool(SYMBOL.validate_python(text))
    except ValidationError:
        return False
