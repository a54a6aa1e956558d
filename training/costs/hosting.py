"""Hosting costs and, of both backends, the cost of 1,000 tokens and the time of a generated one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from app.pricing.prices import plain
from training.artifacts import read_json
from training.costs import case_study as study
from training.costs.break_even import machines, short
from training.costs.case_study import Hosting
from training.costs.recorded import Recorded, Served
from training.markdown import table

COLUMNS = ("", "vendor", "machine", "model", "$/hour", "calls/hour", "tokens/call", "tokens/s", "$/call")
TOKEN_COLUMNS = ("backend", "", "model", "machine", "$/1k tokens", "$/million tokens", "ms per generated token")
API_VENDOR = "OpenAI"
UNKNOWN = "-"
NOTE = (
    "Cost of 1,000 tokens: of prompt and answer together; *computed* from the capacity, in whole machines for the "
    "published calls an hour. Time of a generated token: that of a whole call, prompt included, divided by the tokens "
    "of its answer. At capacity as many calls run concurrently as the machine's cell states; *one call at a time* is "
    "the median that `make bench-fresh` measured on the day stated, of the default model of that day. List price: the "
    "same call, its tokens counted by the hosted model's tokenizer; this project has no measurement of the API's time."
)

Row = tuple[str, Hosting]


def rows(found: Sequence[Recorded]) -> list[Row]:
    """Return published and own rows with their sources."""
    served = [each for run in found for each in run.served]
    return [("published", study.MISTRAL), ("published", study.GPT4), *(row for each in served for row in _own(each))]


def _own(served: Served) -> Iterator[Row]:
    yield "measured, at capacity", served.hosting
    yield "computed, at that load", at_load(served.hosting, study.CALLS_PER_HOUR)
    yield "list price", _at_api(served)


def at_load(full: Hosting, calls_per_hour: Decimal) -> Hosting:
    """Return the row at another load, in whole machines with their total price."""
    assert full.usd_per_hour is not None
    usd_per_hour = full.usd_per_hour * machines(calls_per_hour, full.calls_per_hour)
    usd_per_call = usd_per_hour / calls_per_hour
    return Hosting(
        full.vendor, full.machine, full.model, usd_per_hour, calls_per_hour, full.tokens_per_call,
        calls_per_hour * full.tokens_per_call / 3600, usd_per_call, usd_per_call * 1000 / full.tokens_per_call, None,
    )  # fmt: skip


def _at_api(served: Served) -> Hosting:
    call, usd_per_call = served.hosting, served.api_usd_per_call
    per_1k = usd_per_call * 1000 / call.tokens_per_call
    return Hosting(
        API_VENDOR, UNKNOWN, served.api_model, None, call.calls_per_hour, call.tokens_per_call, None, usd_per_call,
        per_1k, None,
    )  # fmt: skip


def hosting_table(given: Sequence[Row]) -> str:
    """Return the Markdown table of hours and calls."""
    return table(COLUMNS, (_hosting(source, row) for source, row in given))


def _hosting(source: str, row: Hosting) -> list[str]:
    return [
        source, row.vendor, row.machine, row.model, usd(row.usd_per_hour), f"{row.calls_per_hour:,.0f}",
        f"{row.tokens_per_call:,.0f}", UNKNOWN if row.tokens_per_second is None else f"{row.tokens_per_second:,.1f}",
        short(row.usd_per_call),
    ]  # fmt: skip


def token_table(given: Sequence[Row], bench: Path) -> str:
    """Return the Markdown table of tokens, with the times of single calls that `bench` has."""
    return table(TOKEN_COLUMNS, [*(_token(source, row) for source, row in given), *_alone(bench)])


def _token(source: str, row: Hosting) -> list[str]:
    api = row.vendor == API_VENDOR
    time = ("not measured here" if api else UNKNOWN) if row.ms_per_token is None else f"{row.ms_per_token:,.2f}"
    cells = ["gpt-4" if api else "mistral", source, row.model, row.machine]
    return [*cells, short(row.usd_per_1k), short(1000 * row.usd_per_1k), time]


def _alone(bench: Path) -> Iterator[list[str]]:
    """Yield a row for each machine and detail that was measured one call at a time."""
    for measured in (read_json(bench).get("fresh", {}) if bench.exists() else {}).values():
        source = f"one call at a time, {measured['measured_at'][:10]}"
        for detail, answers in measured["later"]["answers"].items():
            time = f"{1000 * answers['seconds'] / answers['tokens']:,.2f}"
            model = f"default model, {detail}"
            yield ["mistral", source, model, measured["machine"], UNKNOWN, UNKNOWN, time]


def usd(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else plain(amount)
