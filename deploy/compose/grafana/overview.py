"""Overview: both backends side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.panels import HALF, Query, board, lines, numbers, quantiles

FAILED = (
    'outcome=~"internal_error|market_data_unavailable|market_data_rate_limited|backend_error|unparsed_answer'
    '|backend_unavailable|deadline_exceeded|overloaded|store_unavailable"'
)


def dashboard() -> Dashboard:
    return (
        board("overview", "overview", "Both backends side by side: speed, cost and errors.")
        .with_panel(
            numbers(
                "Requests a second",
                "reqps",
                Query('sum by (backend) (rate(conviction_requests_total{backend!="unknown"}[$__rate_interval]))'),
            )
        )
        .with_panel(
            numbers(
                "Failing",
                "percentunit",
                Query(
                    f"sum by (backend) (rate(conviction_requests_total{{{FAILED}}}[5m]))"
                    ' / sum by (backend) (rate(conviction_requests_total{backend!="unknown"}[5m]))'
                ),
                about="Share of requests in five minutes that failed through no fault of the client.",
            )
        )
        .with_panel(
            numbers(
                "Breakers not closed",
                "none",
                Query('sum by (backend) (1 - conviction_breaker_state{state="closed"})'),
                about="Gateways that block requests to a backend's servers because they keep failing.",
            )
        )
        .with_panel(
            numbers(
                "Alerts",
                "none",
                Query('count(ALERTS{alertstate="firing"}) or vector(0)', "firing"),
                about="Firing alerts; Alerting > Alert rules lists them.",
            )
        )
        .with_panel(lines("Output tokens a second", "none", Query("conviction:tokens_per_second")))
        .with_panel(
            lines(
                "Milliseconds a token",
                "ms",
                Query("conviction:ms_per_token"),
                about="Time between output tokens, mean of calls.",
            )
        )
        .with_panel(
            lines(
                "USD per 1,000 tokens",
                "currencyUSD",
                Query("conviction:cost_usd_per_1k_tokens"),
                about="As stated in answers: gpt-4 at list price, mistral at measured capacity. What mistral costs at"
                " its present use is on the cost dashboard.",
            )
        )
        .with_panel(lines("Time to first token", "s", *quantiles("conviction_time_to_first_token_seconds")))
        .with_panel(lines("Time to answer", "s", *quantiles("conviction_request_duration_seconds")))
        .with_panel(lines("Gateway overhead", "s", *quantiles("conviction_gateway_overhead_seconds")))
        .with_panel(
            lines(
                "Failed requests by error",
                "reqps",
                Query(
                    'sum by (backend, outcome) (rate(conviction_requests_total{outcome!="ok"}[$__rate_interval]))',
                    "{{backend}}: {{outcome}}",
                ),
                width=HALF,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Running and queued requests",
                "none",
                Query("sum by (backend) (conviction_in_flight_requests)", "{{backend}}, under way"),
                Query("sum by (backend) (conviction_queue_depth)", "{{backend}}, waiting"),
                width=HALF,
            )
        )
        .with_panel(
            lines(
                "Answers by source",
                "reqps",
                Query("sum by (result) (rate(conviction_cache_requests_total[$__rate_interval]))", "{{result}}"),
                about="hit: cache; coalesced: another request's call; miss: a new call.",
                width=HALF,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Requests refused by a limit",
                "reqps",
                Query(
                    "sum by (scope, reason) (rate(conviction_limited_total[$__rate_interval]))",
                    "{{reason}} of the {{scope}}",
                ),
                width=HALF,
                stacked=True,
            )
        )
    )
