"""A/B: requests that both backends answered."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.board import board
from deploy.compose.grafana.panels import HALF, Panel, bars, lines, matrix, numbers
from deploy.compose.grafana.queries import Query
from deploy.compose.grafana.thresholds import BACKENDS

ANSWERED = 'conviction_ab_pairs_total{mistral_action!="error", gpt4_action!="error"}'
REPORT = "GET /v1/comparisons/report has confidence intervals by ticker, and Cohen's kappa."


def dashboard() -> Dashboard:
    about = f"Requests that were sent to both backends. {REPORT}"
    rows = {"Agreement": agreement(), "Convictions": convictions(), "Actions": actions()}
    return board("A/B", "ab", about, rows)


def agreement() -> Iterator[Panel]:
    yield numbers("Agreement", "percentunit", Query(agreeing("$__range"), "this span"), about=REPORT)
    yield numbers(
        "Agreement, long spans",
        "percentunit",
        Query("conviction:agreement:6h", "six hours"),
        Query("conviction:agreement:7d", "seven days"),
        about="An alert fires if six hours are 0.1 below seven days.",
    )
    yield numbers("Pairs", "none", Query(f"sum(increase({ANSWERED}[$__range]))", "both answered")).decimals(0)
    yield numbers(
        "Pairs with an error",
        "none",
        Query('sum(increase(conviction_ab_pairs_total{mistral_action="error"}[$__range]))', "mistral gave none"),
        Query('sum(increase(conviction_ab_pairs_total{gpt4_action="error"}[$__range]))', "gpt-4 gave none"),
    ).decimals(0)
    yield lines(
        "Agreement",
        "percentunit",
        Query(agreeing("1h"), "the last hour"),
        Query("conviction:agreement:6h", "six hours"),
        about=REPORT,
        width=HALF,
    ).max(1)
    yield matrix(
        "Actions: mistral by row, gpt-4 by column",
        Query("sum by (mistral_action, gpt4_action) (increase(conviction_ab_pairs_total[$__range]))"),
        row="mistral_action",
        column="gpt4_action",
        about="Pairs in this time range; error: no action.",
    )


def convictions() -> Iterator[Panel]:
    yield lines(
        "Mean conviction",
        "none",
        Query(
            "sum by (backend) (rate(conviction_level_sum[$__rate_interval]))"
            " / (sum by (backend) (rate(conviction_level_count[$__rate_interval])) > 0)"
        ),
        about="All answers, 1 to 10.",
    ).max(10)
    for backend, colour in BACKENDS.items():
        levels = f'sum by (le) (increase(conviction_level_bucket{{backend="{backend}"}}[$__range]))'
        yield bars(f"Convictions of {backend}", "none", Query(levels, "{{le}}"), colour=colour)


def actions() -> Iterator[Panel]:
    for backend in BACKENDS:
        rate = f'rate(conviction_recommendations_total{{backend="{backend}"}}[$__rate_interval])'
        yield lines(
            f"Answers of {backend} a second, by action",
            "reqps",
            Query(f"sum by (action) ({rate})", "{{action}}"),
            stacked=True,
        )
    yield lines(
        "Mean conviction, by action",
        "none",
        Query(
            "sum by (backend, action) (rate(conviction_level_sum[$__rate_interval]))"
            " / (sum by (backend, action) (rate(conviction_level_count[$__rate_interval])) > 0)",
            "{{backend}}: {{action}}",
        ),
    ).max(10)


def agreeing(span: str) -> str:
    """Return the query for the share of equal actions, of pairs with two answers."""
    same = " or ".join(
        f'increase(conviction_ab_pairs_total{{mistral_action="{action}", gpt4_action="{action}"}}[{span}])'
        for action in ("buy", "sell", "hold")
    )
    return f"sum({same}) / (sum(increase({ANSWERED}[{span}])) > 0)"
