"""Overview: both backends side by side."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

from deploy.compose.grafana.board import board
from deploy.compose.grafana.panels import HALF, Panel, lines, numbers
from deploy.compose.grafana.queries import QUANTILES, Query, failed, quantile, quantiles, refused
from deploy.compose.grafana.thresholds import ANY, FAILURES
from deploy.compose.grafana.variables import BACKEND, BACKENDS, DETAIL, DETAILS, GATEWAYS, INSTANCE

BY_DETAIL = (
    ("Seconds to answer", "s", "conviction_request_duration_seconds", ""),
    ("Seconds to first token", "s", "conviction_time_to_first_token_seconds", ""),
    ("Milliseconds a token", "ms", "conviction_time_per_output_token_seconds", "1000 * "),
)
"""Title, unit, histogram, and the factor from seconds to the unit."""
KNOWN = f'{DETAIL}, backend!="unknown"'
FAILING = (
    f"sum by (backend) (rate(conviction_requests_total{{{DETAIL}, {failed()}}}[5m]))"
    f" / sum by (backend) (rate(conviction_requests_total{{{KNOWN}}}[5m]))"
)


def dashboard() -> Dashboard:
    rows = {
        "State": state(),
        "Speed and cost": speed(),
        **{title: percentiles(title, unit, metric, factor) for title, unit, metric, factor in BY_DETAIL},
        "Failures": failures(),
        "Load": load(),
    }
    about = "Both backends side by side: speed, cost and errors."
    return board("overview", "overview", about, rows, GATEWAYS, BACKENDS, DETAILS)


def state() -> Iterator[Panel]:
    yield numbers(
        "Requests a second",
        "reqps",
        Query(f"sum by (backend) (rate(conviction_requests_total{{{KNOWN}}}[$__rate_interval]))"),
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
        Query(f'sum by (backend) (1 - conviction_breaker_state{{{BACKEND}, state="closed"}})'),
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
    tokens, per_token = f"conviction_tokens_total{{{BACKEND}}}", "conviction_time_per_output_token_seconds"
    output = f'conviction_tokens_total{{{BACKEND}, type="output"}}'
    yield lines("Output tokens a second", "none", Query(f"sum by (backend) (rate({output}[$__rate_interval]))"))
    yield lines(
        "Milliseconds a token, mean",
        "ms",
        Query(
            f"1000 * sum by (backend) (rate({per_token}_sum{{{DETAIL}}}[$__rate_interval]))"
            f" / (sum by (backend) (rate({per_token}_count{{{DETAIL}}}[$__rate_interval])) > 0)"
        ),
        about="Time between output tokens, mean of calls.",
        logarithmic=True,
    )
    yield lines(
        "USD per 1,000 tokens",
        "currencyUSD",
        Query(
            f"1000 * sum by (backend) (rate(conviction_cost_usd_total{{{BACKEND}}}[1h]))"
            f" / (sum by (backend) (rate({tokens}[1h])) > 0)"
        ),
        about="The last hour's, as stated in answers: gpt-4 at list price, mistral at measured capacity. What mistral"
        " costs at its present use is on the cost dashboard.",
        logarithmic=True,
    )


def percentiles(title: str, unit: str, metric: str, factor: str) -> Iterator[Panel]:
    """Yield a panel for each quantile, with a line for each backend and detail."""
    for name in QUANTILES:
        query = Query(factor + quantile(name, metric, "backend, detail", DETAIL), "{{backend}} {{detail}}")
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
                f"sum by (backend, outcome) (rate(conviction_requests_total{{{DETAIL}, {which}}}[$__rate_interval]))",
                "{{backend}}: {{outcome}}",
            ),
            about=about,
            stacked=True,
        )


def load() -> Iterator[Panel]:
    yield lines(
        "Running and queued requests",
        "none",
        Query(f"sum by (backend) (conviction_in_flight_requests{{{BACKEND}}})", "{{backend}}, under way"),
        Query(f"sum by (backend) (conviction_queue_depth{{{BACKEND}}})", "{{backend}}, waiting"),
        width=HALF,
    )
    overhead = quantiles("conviction_gateway_overhead_seconds", "backend", BACKEND)
    yield lines("Gateway overhead", "s", *overhead, width=HALF, logarithmic=True)
    yield lines(
        "Answers a second, by source",
        "reqps",
        Query(f"sum by (result) (rate(conviction_cache_requests_total{{{INSTANCE}}}[$__rate_interval]))", "{{result}}"),
        about="hit: cache; coalesced: another request's call; miss: a new call.",
        width=HALF,
        stacked=True,
    )
    yield lines(
        "Requests a second refused by a limit",
        "reqps",
        Query(
            f"sum by (scope, reason) (rate(conviction_limited_total{{{INSTANCE}}}[$__rate_interval]))",
            "{{reason}} of the {{scope}}",
        ),
        width=HALF,
        stacked=True,
    )
