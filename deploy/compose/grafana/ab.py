"""A/B: requests that both backends answered."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.panels import HALF, THIRD, Query, bars, board, lines, matrix, numbers

ANSWERED = 'conviction_ab_pairs_total{mistral_action!="error", gpt4_action!="error"}'
REPORT = "GET /v1/comparisons/report has confidence intervals by ticker, and Cohen's kappa."


def agreement(span: str) -> str:
    """Return the query for the share of equal actions, of pairs with two answers."""
    same = " or ".join(
        f'increase(conviction_ab_pairs_total{{mistral_action="{action}", gpt4_action="{action}"}}[{span}])'
        for action in ("buy", "sell", "hold")
    )
    return f"sum({same}) / (sum(increase({ANSWERED}[{span}])) > 0)"


def levels(backend: str) -> Query:
    return Query(f'sum by (le) (increase(conviction_level_bucket{{backend="{backend}"}}[$__range]))', "{{le}}")


def dashboard() -> Dashboard:
    return (
        board("A/B", "ab", f"Requests that were sent to both backends. {REPORT}")
        .with_panel(numbers("Agreement", "percentunit", Query(agreement("$__range"), "this span"), about=REPORT))
        .with_panel(
            numbers(
                "Agreement",
                "percentunit",
                Query("conviction:agreement:6h", "six hours"),
                Query("conviction:agreement:7d", "seven days"),
                about="An alert fires if six hours are 0.1 below seven days.",
            )
        )
        .with_panel(
            numbers("Pairs", "none", Query(f"sum(increase({ANSWERED}[$__range]))", "both answered")).decimals(0)
        )
        .with_panel(
            numbers(
                "Pairs with an error",
                "none",
                Query(
                    'sum(increase(conviction_ab_pairs_total{mistral_action="error"}[$__range]))', "mistral gave none"
                ),
                Query('sum(increase(conviction_ab_pairs_total{gpt4_action="error"}[$__range]))', "gpt-4 gave none"),
            ).decimals(0)
        )
        .with_panel(
            lines(
                "Agreement",
                "percentunit",
                Query(agreement("1h"), "the last hour"),
                Query("conviction:agreement:6h", "six hours"),
                about=REPORT,
                width=HALF,
            ).max(1)
        )
        .with_panel(
            matrix(
                "Actions: mistral by row, gpt-4 by column",
                Query("sum by (mistral_action, gpt4_action) (increase(conviction_ab_pairs_total[$__range]))"),
                row="mistral_action",
                column="gpt4_action",
                about="Pairs in this time range; error: no action.",
            )
        )
        .with_panel(
            lines(
                "Mean conviction",
                "none",
                Query(
                    "sum by (backend) (rate(conviction_level_sum[$__rate_interval]))"
                    " / (sum by (backend) (rate(conviction_level_count[$__rate_interval])) > 0)"
                ),
                about="All answers, 1 to 10.",
            ).max(10)
        )
        .with_panel(bars("Convictions of mistral", "none", levels("mistral"), buckets=True))
        .with_panel(bars("Convictions of gpt-4", "none", levels("gpt-4"), buckets=True))
        .with_panel(
            lines(
                "Actions of mistral",
                "reqps",
                Query(
                    'sum by (action) (rate(conviction_recommendations_total{backend="mistral"}[$__rate_interval]))',
                    "{{action}}",
                ),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Actions of gpt-4",
                "reqps",
                Query(
                    'sum by (action) (rate(conviction_recommendations_total{backend="gpt-4"}[$__rate_interval]))',
                    "{{action}}",
                ),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Mean conviction, by action",
                "none",
                Query(
                    "sum by (backend, action) (rate(conviction_level_sum[$__rate_interval]))"
                    " / (sum by (backend, action) (rate(conviction_level_count[$__rate_interval])) > 0)",
                    "{{backend}}: {{action}}",
                ),
                width=THIRD,
            ).max(10)
        )
    )
