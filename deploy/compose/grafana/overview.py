"""Overview: both backends side by side."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

from deploy.compose.grafana.board import board
from deploy.compose.grafana.panels import HALF, Panel, lines, numbers
from deploy.compose.grafana.queries import QUANTILES, Query, failed, quantile, quantiles, refused
from deploy.compose.grafana.thresholds import ANY, FAILURES

BY_DETAIL = (
    ("Seconds to answer", "s", "conviction_request_duration_seconds", ""),
    ("Seconds to first token", "s", "conviction_time_to_first_token_seconds", ""),
    ("Milliseconds a token", "ms", "conviction_time_per_output_token_seconds", "1000 * "),
)
"""Title, unit, histogram, and the factor from seconds to the unit."""
FAILING = (
    f"sum by (backend) (rate(conviction_requests_total{{{failed()}}}[5m]))"
    ' / sum by (backend) (rate(conviction_requests_total{backend!="unknown"}[5m]))'
)


def dashboard() -> Dashboard:
    rows = {
        "State": state(),
        "Speed and cost": speed(),
        **{title: percentiles(title, unit, metric, factor) for title, unit, metric, factor in BY_DETAIL},
        "Failures": failures(),
        "Load": load(),
    }
    return board("overview", "overview", "Both backends side by side: speed, cost and errors.", rows)


def state() -> Iterator[Panel]:
    yield numbers(
        "Requests a second",
        "reqps",
        Query('sum by (backend) (rate(conviction_requests_total{backend!="unknown"}[$__rate_interval]))'),
    )
    yield numbers(
        "Failing",
        "percentunit",
        Query(FAILING),
        about="Share of requests in five minutes that failed through no fault of the client.",
        thresholds=FAILURES,
    )
    yield numbers(
        "Breakers not closed",
        "none",
        Query('sum by (backend) (1 - conviction_breaker_state{state="closed"})'),
        about="Gateways that block requests to a backend's servers because they keep failing.",
        thresholds=ANY,
    )
    yield numbers(
        "Alerts",
        "none",
        Query('count(ALERTS{alertstate="firing", severity!="info"}) or vector(0)', "firing"),
        about="Firing alerts but those for information; Alerting > Alert rules lists all.",
        thresholds=ANY,
        link=DashboardLink("Alert rules").type(DashboardLinkType.LINK).url("/alerting/list"),
    )


def speed() -> Iterator[Panel]:
    yield lines("Output tokens a second", "none", Query("conviction:tokens_per_second"))
    yield lines(
        "Milliseconds a token, mean",
        "ms",
        Query("conviction:ms_per_token"),
        about="Time between output tokens, mean of calls.",
        logarithmic=True,
    )
    yield lines(
        "USD per 1,000 tokens",
        "currencyUSD",
        Query("conviction:cost_usd_per_1k_tokens"),
        about="As stated in answers: gpt-4 at list price, mistral at measured capacity. What mistral costs at"
        " its present use is on the cost dashboard.",
        logarithmic=True,
    )


def percentiles(title: str, unit: str, metric: str, factor: str) -> Iterator[Panel]:
    """Yield a panel for each quantile, with a line for each backend and detail."""
    for name in QUANTILES:
        query = Query(factor + quantile(name, metric, "backend, detail"), "{{backend}} {{detail}}")
        yield lines(f"{title}, {name}", unit, query, logarithmic=True)


def failures() -> Iterator[Panel]:
    yield lines(
        "Failing",
        "percentunit",
        Query(FAILING),
        about="Share of requests in five minutes that failed through no fault of the client.",
        thresholds=FAILURES,
    )
    for title, which, about in (
        ("Failures a second, by error", failed(), "The gateway's, a backend's or the market's: the operator's to end."),
        ("Client errors a second, by error", refused(), "Requests that were invalid, refused for a limit, or left."),
    ):
        yield lines(
            title,
            "reqps",
            Query(
                f"sum by (backend, outcome) (rate(conviction_requests_total{{{which}}}[$__rate_interval]))",
                "{{backend}}: {{outcome}}",
            ),
            about=about,
            stacked=True,
        )


def load() -> Iterator[Panel]:
    yield lines(
        "Running and queued requests",
        "none",
        Query("sum by (backend) (conviction_in_flight_requests)", "{{backend}}, under way"),
        Query("sum by (backend) (conviction_queue_depth)", "{{backend}}, waiting"),
        width=HALF,
    )
    yield lines(
        "Gateway overhead", "s", *quantiles("conviction_gateway_overhead_seconds"), width=HALF, logarithmic=True
    )
    yield lines(
        "Answers a second, by source",
        "reqps",
        Query("sum by (result) (rate(conviction_cache_requests_total[$__rate_interval]))", "{{result}}"),
        about="hit: cache; coalesced: another request's call; miss: a new call.",
        width=HALF,
        stacked=True,
    )
    yield lines(
        "Requests a second refused by a limit",
        "reqps",
        Query(
            "sum by (scope, reason) (rate(conviction_limited_total[$__rate_interval]))",
            "{{reason}} of the {{scope}}",
        ),
        width=HALF,
        stacked=True,
    )
