"""Cost report: the case study's tables beside this project's, and the break-even chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from app.pricing.prices import plain, prices
from training.artifacts import write_text
from training.config import Config
from training.costs import case_study as study
from training.costs.arithmetic import clock, notes
from training.costs.break_even import cases, chart, machines, short, table
from training.costs.case_study import Hosting, Training
from training.costs.recorded import Recorded, recorded

NOT_KNOWN = "-"
HOSTING_COLUMNS = (
    *("vendor", "machine", "model", "$/hour", "calls/hour", "tokens/call", "tokens/s"),
    *("$/call", "$/1k tokens", "$/million tokens", "ms/token"),
)
CHART = "break-even.png"


def costs(configs: Sequence[Config], runs: Path, store: Path, usd_per_hour: Decimal | None, out: Path | None) -> str:
    """Return the Markdown report; with `out`, also write `costs.md` and the chart there.

    `usd_per_hour` is the serving machine's price; by default the one that each model's newest version states.
    """
    found = [(config, run) for config in configs if (run := recorded(config, runs, store, usd_per_hour))]
    document = "\n".join(_document(found, _without_config(runs, {c.name for c in configs}))) + "\n"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        chart(cases([run for _, run in found]), out / CHART)
        write_text(out / "costs.md", document)
    return document


def _without_config(runs: Path, known: set[str]) -> list[str]:
    return sorted({path.parents[1].name for path in runs.glob("*/finetune/manifest.json")} - known)


def _document(found: Sequence[tuple[Config, Recorded]], unknown: Sequence[str]) -> Iterator[str]:
    own = [run for _, run in found]
    yield f"# Costs\n\nRows marked *published* are the case study's; list prices of {prices().checked}. Money in USD."
    if not own:
        yield "No run of this project is recorded here, so the tables have published rows only."
    if unknown:
        yield f"Not shown, because no given configuration has their name: {', '.join(unknown)}."
    yield "\n## Training\n"
    yield from _training([run.training for run in own])
    yield "\n## Hosting\n"
    yield from _hosting(found)
    yield "\n## From data set to answers\n"
    yield from _whole(own)
    yield "\n## Break-even\n"
    yield from table(cases(own))
    yield f"\n![USD an hour against calls an hour]({CHART})"
    yield "\n## Where the published arithmetic does not hold\n"
    yield from (f"- {note}" for note in notes())


def _training(own: Sequence[Training]) -> Iterator[str]:
    yield "| | vendor | GPU | model | GPUs or processes | time | $/hour | cost, $ |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for source, rows in (("published", study.TRAINING), ("own", own)):
        for row in rows:
            cells = row.vendor, row.gpu, row.model, str(row.devices), clock(row.seconds)
            yield _row(source, *cells, _usd(row.usd_per_hour), _usd(row.cost_usd))


def _hosting(found: Sequence[tuple[Config, Recorded]]) -> Iterator[str]:
    yield _row("", *HOSTING_COLUMNS)
    yield _row(*["---"] * (1 + len(HOSTING_COLUMNS)))
    yield from (_hosting_row("published", row) for row in (study.MISTRAL, study.GPT4))
    for config, run in found:
        for served in run.served:
            yield _hosting_row("own, at capacity", served.hosting)
            yield _hosting_row("own, at that load", at_load(served.hosting, Decimal(config.costs.calls_per_hour)))
            yield _hosting_row("list price", _at_api(served.hosting, served.api_model, served.api_usd_per_call))
    yield (
        "\nms/token: per generated token; in own rows the time of the whole call, prompt included, with as many calls "
        "under way as stated, and therefore more than between two tokens of one answer. List price: the same call, "
        "its tokens counted by this model's tokenizer."
    )


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


def _hosting_row(source: str, row: Hosting) -> str:
    return _row(
        source, row.vendor, row.machine, row.model, _usd(row.usd_per_hour), f"{row.calls_per_hour:,.0f}",
        f"{row.tokens_per_call:,.0f}", NOT_KNOWN if row.tokens_per_second is None else f"{row.tokens_per_second:,.1f}",
        short(row.usd_per_call), short(row.usd_per_1k), short(1000 * row.usd_per_1k),
        NOT_KNOWN if row.ms_per_token is None else f"{row.ms_per_token:,.2f}",
    )  # fmt: skip


def _whole(own: Sequence[Recorded]) -> Iterator[str]:
    yield "| | data set, $ | fine-tuning, $ | hosting, $/day |"
    yield "| --- | --- | --- | --- |"
    yield _row("published", *map(_usd, (study.DATASET_USD, study.FINETUNING_USD, study.HOSTING_USD_PER_DAY)))
    for run in own:
        daily = None if run.usd_per_hour is None else 24 * run.usd_per_hour
        labels = f"{_usd(run.labels_usd)} (teacher: {run.teacher})"
        yield _row(run.name, labels, _usd(run.training.cost_usd), _usd(daily))


def _usd(amount: Decimal | None) -> str:
    return NOT_KNOWN if amount is None else plain(amount)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
