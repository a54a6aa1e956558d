"""Cost: a model paid by the hour against one paid by the token."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.board import board
from deploy.compose.grafana.panels import HALF, TALL, THIRD, Panel, lines, numbers
from deploy.compose.grafana.queries import Query
from deploy.compose.grafana.thresholds import USED

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
    about = "A hosted model is paid by the hour, whether or not requests come; an API by the token."
    rows = {
        "Spend": spend(),
        "Keys": keys(),
        "Price": price(),
        "Break-even": break_even(),
        "Tokens": tokens(),
        "Budgets": budgets(),
    }
    return board("cost", "cost", about, rows)


def spend() -> Iterator[Panel]:
    about = "Tokens of gpt-4 at list price, and the hourly bill of mistral; by UTC."
    yield numbers("Spent today, USD", "currencyUSD", Query("conviction:spend_usd:today"), about=about)
    yield numbers("Spent this month, USD", "currencyUSD", Query("conviction:spend_usd:this_month"), about=about)
    yield numbers(
        "Forecast to the month's end, USD",
        "currencyUSD",
        Query("conviction:spend_usd:month_forecast"),
        about="If the rest of the month costs what the last seven days did.",
    )
    yield numbers(
        "Saved against GPT-4, USD",
        "currencyUSD",
        Query("conviction:savings_usd:today", "today"),
        Query("conviction:savings_usd:this_month", "this month"),
        about="GPT-4's price for mistral's tokens, at its mean price per token of seven days, less mistral's bill.",
        none="no calls of gpt-4",
    )


def keys() -> Iterator[Panel]:
    about = "As stated in answers, of the keys that CONVICTION_METRICS_KEY_NAMES lists; other: all others."
    yield numbers(
        "Spent in 24 hours by key, USD",
        "currencyUSD",
        Query("sum by (key_name) (increase(conviction_key_cost_usd_total[1d]))", "{{key_name}}"),
        about=about,
        width=THIRD,
        height=TALL,
        none="no key is listed",
    )
    yield lines(
        "USD an hour, by key",
        "currencyUSD",
        Query("3600 * sum by (key_name) (rate(conviction_key_cost_usd_total[$__rate_interval]))", "{{key_name}}"),
        about=about,
    )
    yield lines(
        "Tokens a second, by key",
        "none",
        Query("sum by (key_name) (rate(conviction_key_tokens_total[$__rate_interval]))", "{{key_name}}"),
        about=about,
    )


def price() -> Iterator[Panel]:
    yield numbers(
        "Hosting, USD an hour",
        "currencyUSD",
        Query(BILL, "mistral"),
        about="Hourly price x replicas, with or without requests.",
    )
    yield numbers(
        "GPT-4, USD an hour",
        "currencyUSD",
        Query('3600 * sum(rate(conviction_cost_usd_total{backend="gpt-4"}[1h]))', "gpt-4"),
        about="The last hour's tokens at list price.",
    )
    yield numbers(
        "GPT-4, USD per 1,000 tokens",
        "currencyUSD",
        Query(API, "list price"),
        about="The last hour's mix of input, cached input and output.",
    ).decimals(5)
    yield numbers(
        "Hosted, USD per 1,000 tokens",
        "currencyUSD",
        Query(PRESENT, "present use"),
        Query(CAPACITY, "at capacity"),
        about="The hourly bill over the last hour's tokens; and over those of an hour at measured capacity.",
    ).decimals(5)


def break_even() -> Iterator[Panel]:
    yield lines(
        "USD per 1,000 tokens",
        "currencyUSD",
        Query(PRESENT, "mistral at present use"),
        Query(CAPACITY, "mistral at capacity"),
        Query(API, "gpt-4 at list price"),
        about="Hosting pays while its line at present use is below gpt-4's.",
        logarithmic=True,
    )
    yield lines(
        "Calls of mistral an hour, and break-even",
        "none",
        Query(CALLS, "mistral"),
        Query(f"{BILL} / ({API_PER_CALL})", "break-even against gpt-4"),
        about="Above this number of calls an hour, hosting costs less than gpt-4, at the cost of its calls in"
        " the last hour.",
        logarithmic=True,
    )
    yield lines(
        "Tokens of mistral a second, and break-even",
        "none",
        Query('sum(rate(conviction_tokens_total{backend="mistral"}[1h]))', "mistral"),
        Query(f"1000 * {BILL} / 3600 / max({API} > 0)", "break-even against gpt-4"),
        about="The same in tokens (input, cached, output), at gpt-4's cost per 1,000.",
        logarithmic=True,
    )


def tokens() -> Iterator[Panel]:
    yield lines(
        "Tokens a second, by kind",
        "none",
        Query("sum by (backend, type) (rate(conviction_tokens_total[$__rate_interval]))", "{{backend}} {{type}}"),
        about="input excludes cached_input.",
        width=HALF,
        stacked=True,
    )
    yield lines(
        "USD an hour, as stated in answers",
        "currencyUSD",
        Query(
            "3600 * sum by (backend, basis) (rate(conviction_cost_usd_total[$__rate_interval]))",
            "{{backend}}, {{basis}}",
        ),
        about="list_price is billed; capacity is a share of a fully used machine.",
        width=HALF,
    )


def budgets() -> Iterator[Panel]:
    yield numbers(
        "Budget used today",
        "percentunit",
        Query("conviction:budget_used:ratio"),
        about="UTC day, all gateways on the store.",
        width=THIRD,
        height=TALL,
        none="no budget is set",
        thresholds=USED,
    )
    yield lines(
        "Budgets, USD a day",
        "currencyUSD",
        Query("max by (backend) (conviction_budget_used_usd)", "{{backend}}, used"),
        Query("max by (backend) (conviction_budget_limit_usd)", "{{backend}}, limit"),
        width=2 * THIRD,
    )
