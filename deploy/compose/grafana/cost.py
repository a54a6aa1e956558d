"""Cost: a model paid by the hour against one paid by the token."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.panels import HALF, THIRD, Query, board, lines, numbers

BILL = "max(conviction_hosting_price_usd_per_hour) * max(conviction_backend_replicas)"
PRESENT = "conviction:hosted_cost_usd_per_1k_tokens_at_present_use"
CAPACITY = 'conviction:cost_usd_per_1k_tokens{backend="mistral"}'
API = 'conviction:cost_usd_per_1k_tokens{backend="gpt-4"}'
API_PER_CALL = (
    'sum(increase(conviction_cost_usd_total{backend="gpt-4"}[1h]))'
    ' / (sum(increase(conviction_time_to_first_token_seconds_count{backend="gpt-4"}[1h])) > 0)'
)
CALLS = '3600 * sum(rate(conviction_time_to_first_token_seconds_count{backend="mistral"}[1h]))'


def dashboard() -> Dashboard:
    return (
        board("cost", "cost", "A hosted model is paid by the hour, whether or not requests come; an API by the token.")
        .with_panel(
            numbers(
                "Hosting",
                "currencyUSD",
                Query(BILL, "USD an hour"),
                about="Hourly price x replicas, with or without requests.",
            )
        )
        .with_panel(
            numbers(
                "API",
                "currencyUSD",
                Query('3600 * sum(rate(conviction_cost_usd_total{backend="gpt-4"}[1h]))', "USD an hour"),
                about="The last hour's tokens at list price.",
            )
        )
        .with_panel(
            numbers(
                "GPT-4, per 1,000 tokens",
                "currencyUSD",
                Query(API, "list price"),
                about="The last hour's mix of input, cached input and output.",
            ).decimals(5)
        )
        .with_panel(
            numbers(
                "Hosted, per 1,000 tokens",
                "currencyUSD",
                Query(PRESENT, "present use"),
                Query(CAPACITY, "at capacity"),
                about="The hourly bill over the last hour's tokens; and over those of an hour at measured capacity.",
            ).decimals(5)
        )
        .with_panel(
            lines(
                "USD per 1,000 tokens",
                "currencyUSD",
                Query(PRESENT, "mistral at present use"),
                Query(CAPACITY, "mistral at capacity"),
                Query(API, "gpt-4 at list price"),
                about="Hosting pays while its line at present use is below gpt-4's.",
                width=HALF,
            )
        )
        .with_panel(
            lines(
                "Calls of mistral an hour, and break-even",
                "none",
                Query(CALLS, "mistral"),
                Query(f"{BILL} / ({API_PER_CALL})", "break-even against gpt-4"),
                about="Above this number of calls an hour, hosting costs less than gpt-4, at the cost of its calls in"
                " the last hour.",
                width=HALF,
            )
        )
        .with_panel(
            lines(
                "Tokens of mistral a second, and break-even",
                "none",
                Query('sum(rate(conviction_tokens_total{backend="mistral"}[1h]))', "mistral"),
                Query(f"1000 * {BILL} / 3600 / max({API} > 0)", "break-even against gpt-4"),
                about="The same in tokens (input, cached, output), at gpt-4's cost per 1,000.",
            )
        )
        .with_panel(
            lines(
                "Tokens a second, by kind",
                "none",
                Query(
                    "sum by (backend, type) (rate(conviction_tokens_total[$__rate_interval]))", "{{backend}} {{type}}"
                ),
                about="input excludes cached_input.",
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "USD an hour, as stated in answers",
                "currencyUSD",
                Query(
                    "3600 * sum by (backend, basis) (rate(conviction_cost_usd_total[$__rate_interval]))",
                    "{{backend}}, {{basis}}",
                ),
                about="list_price is billed; capacity is a share of a fully used machine.",
            )
        )
        .with_panel(
            numbers(
                "Budget used today",
                "percentunit",
                Query("max by (backend) (conviction_budget_used_usd) / max by (backend) (conviction_budget_limit_usd)"),
                about="UTC day, all gateways on the store.",
                width=THIRD,
                none="no budget is set",
            )
        )
        .with_panel(
            lines(
                "Daily budgets",
                "currencyUSD",
                Query("max by (backend) (conviction_budget_used_usd)", "{{backend}}, used"),
                Query("max by (backend) (conviction_budget_limit_usd)", "{{backend}}, limit"),
                width=2 * THIRD,
            )
        )
    )
