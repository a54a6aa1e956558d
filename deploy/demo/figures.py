"""Figures of each backend over a time span, from the gateway's metrics, and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from app.contract.completion import BACKEND_NAMES, BackendName

COLUMNS = ("backend", "answered", "refused or failed", "tokens/s", "ms a token", "USD per 1k tokens")

CACHE = {"miss": "made", "hit": "from the cache", "coalesced": "shared with another request"}


@dataclass(frozen=True)
class Page:
    """One reading of /metrics."""

    text: str

    def sum(self, name: str, **labels: str) -> float:
        """Sum a metric's series with these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@dataclass(frozen=True)
class Figures:
    """Figures of one backend; None without requests that provide the figure."""

    answered: int
    refused: int
    tokens_per_second: float
    """Output tokens a second, all requests together."""
    ms_per_token: float | None
    usd_per_1k_tokens: float | None

    @property
    def real(self) -> bool:
        return all((self.answered, self.tokens_per_second, self.ms_per_token, self.usd_per_1k_tokens))


def figures(before: Page, after: Page, seconds: float) -> dict[BackendName, Figures]:
    """Compute the figures from two readings and the seconds between them."""
    return {name: _figures(before, after, seconds, name) for name in BACKEND_NAMES}


def _figures(before: Page, after: Page, seconds: float, name: BackendName) -> Figures:
    def more(metric: str, **labels: str) -> float:
        return after.sum(metric, backend=name, **labels) - before.sum(metric, backend=name, **labels)

    answered = more("conviction_requests_total", outcome="ok")
    calls = more("conviction_time_per_output_token_seconds_count")
    tokens = more("conviction_tokens_total")
    return Figures(
        int(answered),
        int(more("conviction_requests_total") - answered),
        more("conviction_tokens_total", type="output") / seconds,
        1000 * more("conviction_time_per_output_token_seconds_sum") / calls if calls else None,
        1000 * more("conviction_cost_usd_total") / tokens if tokens else None,
    )


def table(found: Mapping[BackendName, Figures]) -> Iterator[str]:
    """Yield the lines of the table, one for each backend."""
    yield "  ".join(COLUMNS)
    for name, each in found.items():
        cells = (
            name.ljust(len(COLUMNS[0])),
            f"{each.answered}",
            f"{each.refused}",
            f"{each.tokens_per_second:.1f}",
            _cell(each.ms_per_token, 2),
            _cell(each.usd_per_1k_tokens, 6),
        )
        yield "  ".join(cell.rjust(len(column)) for cell, column in zip(cells, COLUMNS, strict=True))


def cache(before: Page, after: Page) -> str:
    """Return a line with the sources of answers."""
    metric = "conviction_cache_requests_total"
    shares = {result: after.sum(metric, result=result) - before.sum(metric, result=result) for result in CACHE}
    return f"answers: {', '.join(f'{number:.0f} {CACHE[result]}' for result, number in shares.items())}"


def agreement(report: Mapping[str, Any]) -> str:
    """Return a line from the report over stored pairs."""
    pairs, estimate = f"{report['answered_by_both']} pairs of {report['tickers']} tickers", report["agreement"]
    if estimate is None:
        return f"agreement: unknown ({pairs})"
    span = "" if estimate["low"] is None else f" ({estimate['low']:.1%} to {estimate['high']:.1%})"
    return f"agreement: {estimate['value']:.1%}{span} of {pairs}"


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
