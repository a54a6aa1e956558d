"""Cost report: the case study's tables beside this project's, and the break-even chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from app.pricing.prices import prices
from training.artifacts import write_text
from training.config.run import Config
from training.costs import case_study as study
from training.costs import hosting
from training.costs.break_even import break_even_table, cases, chart
from training.costs.case_study import Training
from training.costs.estimate import assumptions, estimates
from training.costs.hosting import UNKNOWN, usd
from training.costs.recorded import Recorded, finished, recorded
from training.markdown import table

TRAINING_COLUMNS = ("", "vendor", "machine", "model", "GPUs or processes", "tokens", "time", "$/hour", "cost, $")
CHART = "break-even.png"


def costs(
    configs: Sequence[Config], runs: Path, store: Path, usd_per_hour: Decimal | None, bench: Path, out: Path | None
) -> str:
    """Return the Markdown report; with `out`, also write `costs.md` and the chart there.

    `usd_per_hour` is the serving machine's price; by default the one that each model's newest version states. `bench`
    is the benchmarks' results.
    """
    found = [run for config in configs if (run := recorded(config, runs, store, usd_per_hour))]
    unknown = {run.folder.name for run in finished(runs)} - {config.name for config in configs}
    document = "\n\n".join(_document(found, sorted(unknown), bench)) + "\n"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        chart(cases(found), out / CHART)
        write_text(out / "costs.md", document)
    return document


def _document(found: Sequence[Recorded], unknown: Sequence[str], bench: Path) -> Iterator[str]:
    yield "# Costs"
    yield (
        "`python -m training costs` prints this page. Rows marked *published* are the case study's, whose arithmetic "
        f"[another page](case-study.md) checks; list prices of {prices().checked}. Money in USD."
    )
    if not found:
        yield "No run of this project is recorded here, so the tables have published rows only."
    if unknown:
        yield f"Not shown, because no given configuration has their name: {', '.join(unknown)}."
    yield from _training(found)
    rows = hosting.rows(found)
    yield "## Hosting"
    yield hosting.hosting_table(rows)
    yield "## Per token"
    yield hosting.token_table(rows, bench)
    yield hosting.NOTE
    yield "## From data set to answers"
    yield table(["", "data set, $", "fine-tuning, $", "hosting, $/day"], _whole(found))
    yield "## Break-even"
    yield break_even_table(cases(found))
    yield f"![USD an hour against calls an hour]({CHART})"


def _training(found: Sequence[Recorded]) -> Iterator[str]:
    """Yield published, measured and estimated trainings; estimates are of the first configuration's tokens."""
    own = [row for run in found for row in sorted(run.trainings, key=lambda row: row.devices)]
    read = [(tokens, run.name) for run in found if (tokens := run.trainings[-1].tokens)]
    estimated = list(estimates(*read[0])) if read else []
    yield "## Training"
    yield table(TRAINING_COLUMNS, map(_training_row, (*study.TRAINING, *own, *estimated)))
    if estimated:
        yield from assumptions()


def _training_row(row: Training) -> list[str]:
    cells = [row.source, row.vendor, row.machine, row.model, str(row.devices)]
    tokens = UNKNOWN if row.tokens is None else f"{row.tokens:,}"
    return [*cells, tokens, clock(row.seconds), usd(row.usd_per_hour), usd(row.cost_usd)]


def clock(seconds: Decimal) -> str:
    """Format a duration in hours, minutes and seconds, without zero parts."""
    hours, rest = divmod(int(seconds.to_integral_value(ROUND_HALF_UP)), 3600)
    parts = ((hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _whole(own: Sequence[Recorded]) -> Iterator[list[str]]:
    yield [study.PUBLISHED, *map(usd, (study.DATASET_USD, study.FINETUNING_USD, study.HOSTING_USD_PER_DAY))]
    for run in own:
        daily = None if run.usd_per_hour is None else 24 * run.usd_per_hour
        spent = run.trainings[-1].cost_usd
        yield [run.name, f"{usd(run.labels_usd)} (teacher: {run.teacher})", usd(spent), usd(daily)]
