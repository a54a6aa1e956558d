"""Cost report: the case study's tables beside this project's, and the break-even chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from app.pricing.prices import plain, prices
from training.artifacts import write_text
from training.config import Config
from training.costs import case_study as study
from training.costs.break_even import break_even_table, cases, chart, machines, short
from training.costs.case_study import Hosting, Training
from training.costs.recorded import Recorded, recorded
from training.markdown import table

NOT_KNOWN = "-"
TRAINING_COLUMNS = ("", "vendor", "GPU", "model", "GPUs or processes", "time", "$/hour", "cost, $")
HOSTING_COLUMNS = (
    *("", "vendor", "machine", "model", "$/hour", "calls/hour", "tokens/call", "tokens/s"),
    *("$/call", "$/1k tokens", "$/million tokens", "ms/token"),
)
HOSTING_NOTE = (
    "ms/token: per generated token; in own rows the time of the whole call, prompt included, with as many concurrent "
    "calls as stated, and therefore more than between two tokens of one answer. List price: the same call, its tokens "
    "counted by this model's tokenizer."
)
CHART = "break-even.png"


def costs(configs: Sequence[Config], runs: Path, store: Path, usd_per_hour: Decimal | None, out: Path | None) -> str:
    """Return the Markdown report; with `out`, also write `costs.md` and the chart there.

    `usd_per_hour` is the serving machine's price; by default the one that each model's newest version states.
    """
    found = [run for config in configs if (run := recorded(config, runs, store, usd_per_hour))]
    document = "\n\n".join(_document(found, _without_config(runs, {c.name for c in configs}))) + "\n"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        chart(cases(found), out / CHART)
        write_text(out / "costs.md", document)
    return document


def _without_config(runs: Path, known: set[str]) -> list[str]:
    return sorted({path.parents[1].name for path in runs.glob("*/finetune/manifest.json")} - known)


def _document(found: Sequence[Recorded], unknown: Sequence[str]) -> Iterator[str]:
    yield "# Costs"
    yield (
        "Rows marked *published* are the case study's, whose arithmetic [another page](case-study.md) checks; list "
        f"prices of {prices().checked}. Money in USD."
    )
    if not found:
        yield "No run of this project is recorded here, so the tables have published rows only."
    if unknown:
        yield f"Not shown, because no given configuration has their name: {', '.join(unknown)}."
    yield "## Training"
    rows = [("published", row) for row in study.TRAINING] + [("own", run.training) for run in found]
    yield table(TRAINING_COLUMNS, [_training_row(source, row) for source, row in rows])
    yield "## Hosting"
    yield table(HOSTING_COLUMNS, _hosting(found))
    yield HOSTING_NOTE
    yield "## From data set to answers"
    yield table(["", "data set, $", "fine-tuning, $", "hosting, $/day"], _whole(found))
    yield "## Break-even"
    yield break_even_table(cases(found))
    yield f"![USD an hour against calls an hour]({CHART})"


def _training_row(source: str, row: Training) -> list[str]:
    cells = [source, row.vendor, row.gpu, row.model, str(row.devices), clock(row.seconds)]
    return [*cells, _usd(row.usd_per_hour), _usd(row.cost_usd)]


def clock(seconds: Decimal) -> str:
    """Format a duration in hours, minutes and seconds, without zero parts."""
    hours, rest = divmod(int(seconds.to_integral_value(ROUND_HALF_UP)), 3600)
    parts = ((hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _hosting(found: Sequence[Recorded]) -> Iterator[list[str]]:
    yield from (_hosting_row("published", row) for row in (study.MISTRAL, study.GPT4))
    for served in (served for run in found for served in run.served):
        yield _hosting_row("own, at capacity", served.hosting)
        yield _hosting_row("own, at that load", at_load(served.hosting, study.CALLS_PER_HOUR))
        yield _hosting_row("list price", _at_api(served.hosting, served.api_model, served.api_usd_per_call))


def at_load(full: Hosting, calls_per_hour: Decimal) -> Hosting:
    """Return the row at another load, in whole machines with their total price."""
    assert full.usd_per_hour is not None
    usd_per_hour = full.usd_per_hour * machines(calls_per_hour, full.calls_per_hour)
    usd_per_call = usd_per_hour / calls_per_hour
    return Hosting(
        full.vendor, full.machine, full.model, usd_per_hour, calls_per_hour, full.tokens_per_call,
        calls_per_hour * full.tokens_per_call / 3600, usd_per_call, usd_per_call * 1000 / full.tokens_per_call, None,
    )  # fmt: skip


def _at_api(call: Hosting, model: str, usd_per_call: Decimal) -> Hosting:
    per_1k = usd_per_call * 1000 / call.tokens_per_call
    return Hosting(
        "OpenAI", "-", model, None, call.calls_per_hour, call.tokens_per_call, None, usd_per_call, per_1k, None
    )


def _hosting_row(source: str, row: Hosting) -> list[str]:
    return [
        source, row.vendor, row.machine, row.model, _usd(row.usd_per_hour), f"{row.calls_per_hour:,.0f}",
        f"{row.tokens_per_call:,.0f}", NOT_KNOWN if row.tokens_per_second is None else f"{row.tokens_per_second:,.1f}",
        short(row.usd_per_call), short(row.usd_per_1k), short(1000 * row.usd_per_1k),
        NOT_KNOWN if row.ms_per_token is None else f"{row.ms_per_token:,.2f}",
    ]  # fmt: skip


def _whole(own: Sequence[Recorded]) -> Iterator[list[str]]:
    yield ["published", *map(_usd, (study.DATASET_USD, study.FINETUNING_USD, study.HOSTING_USD_PER_DAY))]
    for run in own:
        daily = None if run.usd_per_hour is None else 24 * run.usd_per_hour
        yield [run.name, f"{_usd(run.labels_usd)} (teacher: {run.teacher})", _usd(run.training.cost_usd), _usd(daily)]


def _usd(amount: Decimal | None) -> str:
    return NOT_KNOWN if amount is None else plain(amount)
