"""PromQL that several dashboards ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.errors import ConvictionError

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of its series."""

    expr: str
    legend: str = "{{backend}}"


def quantile(name: str, metric: str, by: str, matchers: str = "") -> str:
    """Return the query for a quantile of a histogram; `by` lists labels."""
    rate = f"rate({metric}_bucket{{{matchers}}}[$__rate_interval])"
    return f"histogram_quantile({QUANTILES[name]}, sum by ({by}, le) ({rate}))"


def quantiles(metric: str, by: str = "backend", matchers: str = "") -> tuple[Query, ...]:
    """Return the queries for each quantile of a histogram."""
    return tuple(Query(quantile(name, metric, by, matchers), f"{{{{{by}}}}} {name}") for name in QUANTILES)


def failed() -> str:
    """Return the matcher for requests that failed through no fault of the client."""
    codes = {kind.code for kind in _kinds(ConvictionError) if kind.status >= 500}
    return f'outcome=~"{"|".join(sorted(codes))}"'


def refused() -> str:
    """Return the matchers for requests that failed through the client's own fault."""
    return f'outcome!="ok", {failed().replace("=~", "!~")}'


def _kinds(root: type[ConvictionError]) -> Iterator[type[ConvictionError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)
