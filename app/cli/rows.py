"""Answers and problems as rows, of a table for people or of CSV for programs, and the option that chooses the form."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from app.api.csv_text import csv_text
from app.cli import streams
from app.cli.colour import Line
from app.cli.recommendation_text import SOURCES

Json = dict[str, Any]

COLUMNS = (
    *("index", "ticker", "as_of", "action", "conviction", "buy", "sell", "hold", "backend", "model", "source"),
    *("stand_in", "fallback_from", "total_ms", "prompt_tokens", "completion_tokens", "usd", "analysis"),
    *("code", "detail"),
)
"""Columns of CSV. `code` and `detail` are those of a problem; a row has an answer's fields or a problem's."""
ROW = "{:<10}  {:<10}  {:<6}  {:>10}  {:>4}  {:>4}  {:>4}  {:<7}  {:>8}  {:>12}  {}"
HEAD = ROW.format(
    *("TICKER", "AS OF", "ACTION", "CONVICTION", "BUY", "SELL", "HOLD", "BACKEND", "SECONDS", "USD", "NOTE")
)
AGREEMENT: dict[bool | None, str] = {True: "they agree", False: "they do not agree"}


def add_output(
    parser: argparse.ArgumentParser, forms: Sequence[str], default: str | None, default_help: str | None = None
) -> None:
    """Add `--output`, and `--json` as a short form of `--output json`."""
    parser.add_argument(
        "--output", choices=forms, default=default, help=f"the form of the output ({default_help or default})"
    )
    parser.add_argument("--json", dest="output", action="store_const", const="json", help="the same as --output json")


class Rows:
    """Prints a row per answer or problem when it arrives, the head before the first. `more` are further CSV columns."""

    def __init__(self, form: str, *more: str) -> None:
        self._csv, self._started, self._columns = form == "csv", False, (*COLUMNS, *more)

    def print(self, index: int, question: Any, answer: Json | None, problem: Json | None, **fields: Any) -> None:
        """Print a row with further fields."""
        if not self._started:
            streams.write(csv_line(self._columns) if self._csv else HEAD)
            self._started = True
        row = {"index": index, **fields, **(_answered(answer) if answer else _failed(question, problem or {}))}
        if self._csv:
            streams.write(csv_line(map(row.get, self._columns)))
        else:
            streams.write(Line(_table_row(row), row["action"] if answer else "error"))


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of CSV without its end."""
    return csv_text([cells]).removesuffix("\r\n")


def _answered(answer: Json) -> Json:
    first = (answer["cascade"] or {}).get("cost")
    return {
        **{name: answer[name] for name in COLUMNS if name in answer},
        **(answer["probabilities"] or {}),
        "total_ms": answer["timing"]["total_ms"],
        "prompt_tokens": answer["usage"]["prompt_tokens"],
        "completion_tokens": answer["usage"]["completion_tokens"],
        "usd": f"{Decimal(answer['cost']['usd']) + Decimal(first['usd'] if first else 0):f}",
    }


def _failed(question: Any, problem: Json) -> Json:
    asked = question if isinstance(question, dict) else {}
    return {
        **{name: asked[name] for name in ("ticker", "as_of") if name in asked},
        **{name: problem.get(name) for name in ("code", "detail")},
    }


def _table_row(row: Json) -> str:
    shares = [f"{row[name]:.0%}" if row.get(name) is not None else "-" for name in ("buy", "sell", "hold")]
    marks = (
        SOURCES.get(row.get("source", "")),
        "a stand-in's" if row.get("stand_in") else None,
        f"instead of {row['fallback_from']}" if row.get("fallback_from") else None,
        AGREEMENT.get(row.get("agree")),
        f"{row['code']}: {row['detail']}" if "code" in row else None,
    )
    cells = (str(row.get(name) or "-") for name in ("ticker", "as_of", "action", "conviction"))
    seconds = f"{row['total_ms'] / 1000:.2f}" if "total_ms" in row else "-"
    cost = (row.get("backend") or "-", seconds, row.get("usd", "-"))
    return ROW.format(*cells, *shares, *cost, ", ".join(filter(None, marks))).rstrip()
