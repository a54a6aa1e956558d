"""A report as CSV, one figure per row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from app.comparison.statistics.report import Report

COLUMNS = ("figure", "backend", "value", "low", "high")
ESTIMATES = (
    *("agreement", "agreement_anytime", "kappa", "weighted_kappa"),
    *("conviction_difference", "conviction_distance"),
)
Row = tuple[Any, ...]


def table(report: Report) -> str:
    """Return the report as RFC 4180 CSV. Only estimates have `low` and `high`; an undefined value is empty."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(COLUMNS)
    lines.writerows((*row, *("",) * (len(COLUMNS) - len(row))) for row in _rows(report))
    return text.getvalue()


def _rows(report: Report) -> Iterator[Row]:
    yield from _flat("", "", {name: getattr(report, name) for name in ("pairs", "answered_by_both", "tickers")})
    yield "first", "", report.first and report.first.isoformat()
    yield "last", "", report.last and report.last.isoformat()
    for name in ("details", "origins", "stand_in"):
        yield from _flat(name, "", getattr(report, name))
    for name in ESTIMATES:
        yield _estimate(name, getattr(report, name))
    for name in ("marginal_homogeneity", "confusion", "confusion_shares"):
        yield from _flat(name, "", getattr(report, name))
    for name, backend in report.backends.items():
        yield from _flat("", name, vars(backend))
    for name, ratio in report.ratios.items():
        yield _estimate(f"ratio.{name}", ratio)
    yield from _flat("needed", "", vars(report.needed))
    yield "method", "", report.method


def _estimate(name: str, estimate: Any) -> Row:
    return (name, "", estimate.value, estimate.low, estimate.high) if estimate else (name, "")


def _flat(name: str, backend: str, value: Any) -> Iterator[Row]:
    """Flatten a nested value under names joined by dots."""
    inner = vars(value) if hasattr(value, "__dict__") else value
    if isinstance(inner, dict):
        for key, each in inner.items():
            yield from _flat(f"{name}.{key}" if name else key, backend, each)
    else:
        yield name, backend, inner
