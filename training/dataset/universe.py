"""Which tickers a data set is made of, and which of them are lines of one company."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.contract.features import Ticker
from training.config import ConfigError

PROMINENT = ("S&P 500", "S&P 600", "NASDAQ 100")
"""Indices as the package pytickersymbols names them: 1,120 tickers in its version 1.17.10."""

SHARE_CLASS = re.compile(r"\s*\(?\b(class|series) [a-z]\b\)?", re.IGNORECASE)
"""What tells a company's lines apart in their names, as in "Clearway Energy, Inc. (Class A)"."""

Names = Mapping[str, str]
"""The company's name by ticker, "" where it is not known."""


@dataclass(frozen=True)
class Universe:
    """Tickers of the market folder, each with the ticker its company goes by; and what the folder lacks."""

    companies: Mapping[str, str]
    absent: Sequence[str]


def choose(universe: str, in_market: Sequence[str]) -> Universe:
    """The tickers of `universe` that the market folder has: "market", "prominent" or a CSV file.

    A folder says nothing of companies, so with "market" each ticker is its own. Raises `ConfigError` naming
    every line of a file that cannot be used, or where the folder has none of the tickers.
    """
    if universe == "market":
        return Universe({ticker: ticker for ticker in in_market}, [])
    names = _prominent() if universe == "prominent" else _listed(Path(universe))
    company = _companies(names)
    spelt = {_plain(ticker): ticker for ticker in in_market}
    found = {spelt[_plain(ticker)]: company[ticker] for ticker in sorted(names) if _plain(ticker) in spelt}
    if not found:
        raise ConfigError(f"dataset.universe: the market folder has none of the {len(names)} tickers of {universe}")
    return Universe(found, [ticker for ticker in sorted(names) if _plain(ticker) not in spelt])


def _plain(ticker: str) -> str:
    """Share classes stand behind a dot or a hyphen: BRK.B here is BRK-B there."""
    return ticker.upper().replace("-", ".")


def _companies(names: Names) -> dict[str, str]:
    """The first ticker of each ticker's company, whichever of them the market folder has."""
    first: dict[str, str] = {}
    for ticker in sorted(names):
        first.setdefault(_company(names[ticker]) or ticker, ticker)
    return {ticker: first[_company(names[ticker]) or ticker] for ticker in names}


def _company(name: str) -> str:
    return SHARE_CLASS.sub("", name).strip().casefold()


def _prominent() -> Names:
    """Where the package gives two strangers one name, they go to one side together, which does no harm."""
    from pytickersymbols import PyTickerSymbols

    package = PyTickerSymbols()
    return {
        stock["symbol"].upper(): stock["name"] for index in PROMINENT for stock in package.get_stocks_by_index(index)
    }


def _listed(path: Path) -> Names:
    """A CSV file with a column `ticker` and maybe `name`, or a text file of tickers under the line "ticker"."""
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
            yield f"  line {line}, ticker: {ticker!r} is no ticker symbol"
        if (first := lines.setdefault(_plain(ticker), line)) != line:
            yield f"  line {line}, ticker: {ticker!r} stands in line {first} already"
