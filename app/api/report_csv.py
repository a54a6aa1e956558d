"""A report as CSV, one figure per row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from app.api.csv_text import csv_text
from app.comparison.statistics.estimate import Estimate
from app.comparison.statistics.figures import Figures
from app.comparison.statistics.report import Report

COLUMNS = ("figure", "backend", "value", "low", "high", "group")
ESTIMATES = (
    *("agreement", "agreement_anytime", "kappa", "weighted_kappa"),
    *("conviction_difference", "conviction_distance"),
)
Row = tuple[Any, ...]


def table(report: Report) -> str:
    """Return the report as RFC 4180 CSV. Only estimates have `low` and `high`, and only figures of groups have a
    `group`; an undefined value is empty."""
    rows = [row + ("",) * (len(COLUMNS) - len(row)) for row in _rows(report)]
    for group in report.groups:
        label = "; ".join(f"{name}={value or 'unknown'}" for name, value in group.by.items())
        rows += [row + ("",) * (len(COLUMNS) - 1 - len(row)) + (label,) for row in _figures(group)]
    return csv_text([COLUMNS, *rows])


def _rows(report: Report) -> Iterator[Row]:
    yield from _figures(report)
    yield "first", "", report.first and report.first.isoformat()
    yield "last", "", report.last and report.last.isoformat()
    for name in ("details", "origins"):
        yield from _flat(name, "", getattr(report, name))
    for backend, versions in report.versions.items():
        for version in versions:
            yield f"version.{version.model or 'unknown'}.{version.prompt_version or 'unknown'}", backend, version.pairs
    yield from _flat("needed", "", vars(report.needed))
    yield "method", "", report.method


def _figures(figures: Figures) -> Iterator[Row]:
    for field in fields(Figures):
        value = getattr(figures, field.name)
        if field.name == "backends":
            for name, backend in value.items():
                yield from _flat("", name, vars(backend))
        elif field.name == "ratios":
            for name, ratio in value.items():
                yield _estimate(f"ratio.{name}", ratio)
        elif field.name in ESTIMATES:
            yield _estimate(field.name, value)
        else:
            yield from _flat(field.name, "", value)


def _estimate(name: str, estimate: Estimate | None) -> Row:
    return (name, "", estimate.value, estimate.low, estimate.high) if estimate else (name, "")


def _flat(name: str, backend: str, value: Any) -> Iterator[Row]:
    """Flatten a nested value under names joined by dots."""
    inner = vars(value) if hasattr(value, "__dict__") else value
    if isinstance(inner, dict):
        for key, each in inner.items():
            yield from _flat(f"{name}.{key}" if name else key, backend, each)
    else:
        yield name, backend, inner
