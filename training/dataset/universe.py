"""The ticker universe of a data set, and which tickers belong to one company."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.contract.features import Ticker, normalized_ticker
from training.config.run import ConfigError

PROMINENT = ("S&P 500", "S&P 600", "NASDAQ 100")
"""Indices by their names in pytickersymbols, 1,120 tickers in version 1.17.10."""

SHARE_CLASS = re.compile(r"\s*\(?\b(class|series) [a-z]\b\)?", re.IGNORECASE)
"""What tells a company's lines apart in their names, as in "Clearway Energy, Inc. (Class A)"."""

Names = Mapping[str, str]
"""The company's name by ticker, "" where it is not known."""


@dataclass(frozen=True)
class Universe:
    """The tickers of the market folder by company, and the tickers that the folder lacks."""

    companies: Mapping[str, str]
    absent: Sequence[str]


def select_universe(universe: str, in_market: Sequence[str]) -> Universe:
    """Return the tickers of `universe` that the market folder has.

    `universe` is "market", "prominent" or a CSV file; with "market" each ticker is its own company, because the folder
    has no company names. Raises `ConfigError` naming every invalid line, or if no ticker is in the folder.
    """
    if universe == "market":
        return Universe({ticker: ticker for ticker in in_market}, [])
    names = _prominent() if universe == "prominent" else _read_csv(Path(universe))
    company = _companies(names)
    in_folder = {normalized_ticker(ticker): ticker for ticker in in_market}
    found = {
        in_folder[normalized_ticker(ticker)]: company[ticker]
        for ticker in sorted(names)
        if normalized_ticker(ticker) in in_folder
    }
    if not found:
        raise ConfigError(f"dataset.universe: the market folder has none of the {len(names)} tickers of {universe}")
    return Universe(found, [ticker for ticker in sorted(names) if normalized_ticker(ticker) not in in_folder])


def _companies(names: Names) -> dict[str, str]:
    """Return for each ticker the first ticker of its company."""
    first: dict[str, str] = {}
    for ticker in sorted(names):
        first.setdefault(_company(names[ticker]) or ticker, ticker)
    return {ticker: first[_company(names[ticker]) or ticker] for ticker in names}


def _company(name: str) -> str:
    return SHARE_CLASS.sub("", name).strip().casefold()


def _prominent() -> Names:
    """Return the prominent indices' tickers; unrelated companies of one name share a split, which is harmless."""
    from pytickersymbols import PyTickerSymbols

    package = PyTickerSymbols()
    return {
        stock["symbol"].upper(): stock["name"] for index in PROMINENT for stock in package.get_stocks_by_index(index)
    }


def _read_csv(path: Path) -> Names:
    """Read a CSV file with a column `ticker` and optionally `name`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "ticker" not in (rows.fieldnames or ()):
            raise ConfigError(f"{path}: no column ticker in its first line")
        entries = [(rows.line_num, row["ticker"] or "", row.get("name") or "") for row in rows]
    if problems := list(_problems(entries)):
        raise ConfigError("\n".join([f"{path}:", *problems]))
    return {ticker.upper(): name for _, ticker, name in entries}


def _problems(entries: Iterable[tuple[int, str, str]]) -> Iterator[str]:
    lines: dict[str, int] = {}
    symbol = TypeAdapter[str](Ticker)
    for line, ticker, _ in entries:
        try:
            symbol.validate_python(ticker)
        except ValidationError:
            yield f"  line {line}, ticker: {ticker!r} is not a ticker symbol"
        if (first := lines.setdefault(normalized_ticker(ticker), line)) != line:
            yield f"  line {line}, ticker: {ticker!r} duplicates line {first}"
