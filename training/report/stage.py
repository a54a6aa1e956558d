"""Report stage: report.md with its pictures, and a self-contained report.html."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.pricing.prices import CapacityPrice, list_price
from training.artifacts import Artifacts
from training.config.finetune import Pairs
from training.config.run import Config
from training.evaluation import baselines
from training.evaluation.calibration import STAGE as CALIBRATE
from training.evaluation.calibration import validation_rows
from training.evaluation.frontier import API_MODEL, frontier
from training.finetune import history
from training.finetune.record import tuning
from training.markdown import bullets
from training.report import plots, tables
from training.report.findings import DISCLAIMER, cascade, findings, teacher_name
from training.report.learning import CURVE_FILE, baseline_curves, learning, read_curves
from training.report.page import Block, Picture, write
from training.report.results import Results, load_results

USD_PER_HOUR = Decimal("0.10")
"""Assumed hourly price of two rented cores."""


def report(config: Config, artifacts: Artifacts, out: Path, usd_per_hour: Decimal = USD_PER_HOUR) -> Path:
    """Write report.md, its pictures and report.html into `out`; return the path of the HTML page.

    `usd_per_hour` is the serving machine's price. Raises `FileNotFoundError` naming the missing stage, `ValueError`
    naming a malformed file.
    """
    labels, tuned = artifacts.manifest("label"), tuning(artifacts)
    train = baselines.read_training_set(artifacts.folder / "label" / "train.jsonl", training_pairs(artifacts))
    evaluated = load_results(artifacts.folder / "evaluate", train)
    curves = read_curves(artifacts.folder / "evaluate" / CURVE_FILE)
    teacher = teacher_name(labels["model"])
    title = f"{config.name}: agreement with the {teacher}"
    blocks = [
        f"# {title}",
        f"The teacher is the {teacher} ({labels['model']}). {DISCLAIMER}",
        *(block for one in evaluated for block in _in_short(one, teacher, train.tickers)),
        *(block for one in evaluated for block in _in_full(one, teacher)),
        *(block for one in evaluated for block in _cascade(one, artifacts, teacher, usd_per_hour)),
        *_calibration(artifacts),
        *learning(curves or baseline_curves(train, evaluated[0].shipped.rows), evaluated[0].detail),
        *_training(tuned),
        *_how(evaluated),
    ]
    return write(out, "report", title, blocks)


def training_pairs(artifacts: Artifacts) -> Pairs | None:
    """Return how many of the first labelled pairs the model was trained on in any stage, or None if on all."""
    settings = [artifacts.manifest(stage).get("config", {}) for stage in ("finetune", "qat") if artifacts.done(stage)]
    used = [Pairs.model_validate(found["pairs"]) for found in settings if found.get("pairs")]
    if len(used) < len(settings):
        return None
    return Pairs(brief=max(pairs.brief for pairs in used), full=max(pairs.full for pairs in used))


def _in_short(results: Results, teacher: str, training_tickers: frozenset[str]) -> Iterator[Block]:
    yield f"## Answers in {results.detail}"
    yield tables.summary(results)
    yield bullets(findings(results, teacher, training_tickers))


def _in_full(results: Results, teacher: str) -> Iterator[Block]:
    shipped, name = results.shipped, results.detail
    yield f"## Details of answers in {name}"
    yield "### Actions"
    caption = f"{shipped.name}, {name}: its actions by the {teacher}'s"
    yield Picture(f"{name}-confusion.png", caption, plots.confusion(shipped.scores["confusion"], teacher))
    yield tables.classes(shipped)
    yield "### Conviction and calibration"
    yield tables.conviction(results)
    stated = {key: curve for key, curve in shipped.scores["calibration"].items() if curve}
    if stated:
        caption = "Agreement by stated probability; conviction maps linearly from 1/3 at 1 to 1 at 10"
        yield Picture(f"{name}-reliability.png", caption, plots.reliability(stated))
    yield "### With metrics missing"
    yield tables.missing(results)
    parts = {one.name: one.scores["by_missing"] for one in (*results.models[:1], *results.baselines[:2])}
    yield Picture(f"{name}-missing.png", "Agreement by how many metrics were not given", plots.by_missing(parts))
    if any("consistency" in model.document for model in results.models):
        yield "### Consistency"
        yield tables.consistency(results)
    yield "### Pairwise comparison"
    yield tables.matrix(results)
    yield "### Tokens and time"
    yield tables.speed(results)


def _cascade(results: Results, artifacts: Artifacts, teacher: str, usd_per_hour: Decimal) -> Iterator[Block]:
    """Yield the cascade section for brief answers, which a cascade asks first."""
    shipped, api = results.shipped, API_MODEL
    if results.detail != "brief":
        return
    hosted = CapacityPrice(usd_per_hour, Decimal(shipped.document["speed"]["tokens_per_hour"]))
    found = frontier(shipped.rows, hosted, list_price(api), validation_rows(artifacts, "brief"))
    if found is None:
        return
    yield "## As the first model of a cascade"
    yield bullets(cascade(found, teacher, api))
    yield tables.frontier(found, api)
    drawn = plots.frontier(found["points"], found["api_alone"], shipped.name, api)
    caption = f"Cost against agreement over thresholds; {usd_per_hour} USD an hour for the machine, at the load above"
    yield Picture("cascade.png", caption, drawn)


def _calibration(artifacts: Artifacts) -> Iterator[Block]:
    """Yield the calibration of the shipped weights, if the stage is complete."""
    if not artifacts.done(CALIBRATE):
        return
    yield "## Calibration"
    yield (
        "A temperature and a bias per action, fitted on validation pairs, are applied to the probabilities of the "
        "shipped weights, here and in the gateway; the action stays the one that the model wrote. Figures are of "
        "validation pairs, each calibrated by a fit on other tickers."
    )
    yield tables.calibration(artifacts.manifest(CALIBRATE))


def _training(tuned: Mapping[str, Any]) -> Iterator[Block]:
    yield "## Training"
    yield f"{tuned['pairs']:,} pairs, {tuned['tokens']:,} tokens, {tuned['seconds']:,.0f} s."
    if tuned.get("continued_from"):
        yield (
            f"Training continued {tuned['continued_from']}, which was trained on other pairs; "
            "baselines use this run's pairs only."
        )
    if qat := tuned.get("qat"):
        yield (
            f"The last {qat['seconds']:,.0f} s, on {qat['pairs']:,} of the pairs again, were quantization-aware: "
            "weights were rounded to 4 bits in the forward pass."
        )
    yield Picture("training.png", "Loss on training and validation pairs by step", history.draw(tuned["history"]))


def _how(evaluated: Sequence[Results]) -> Iterator[Block]:
    yield "## How this was measured"
    yield bullets(
        [
            "A failed, truncated or invalid answer counts as wrong.",
            "Intervals are 95%: by bootstrap over whole tickers, since dates of one ticker are correlated, and beside "
            "it Wilson's, which treats pairs as independent.",
            "Baselines are fitted on exactly the model's training pairs and evaluated on the same pairs as the model. "
            "Readings are the words that the prompt states for a figure, such as RSI: overbought.",
            "Kappa is agreement beyond chance. ECE is the mean distance between stated probability and "
            "observed agreement.",
            "With its metrics in another order a question is the same prompt by construction: what changes there is "
            "the server's own noise. Rounding is to four significant digits; a figure at a bound may cross it, which "
            "may change the teacher's own answer too.",
            *(f"{model.name}, {one.detail}: {_source(model.document)}" for one in evaluated for model in one.models),
        ]
    )


def _source(document: Mapping[str, Any]) -> str:
    where = ", ".join(f"{name} {value}" for name, value in document.get("source", {}).items())
    served = " in ".join((document.get("served") or {}).values())
    machine = document.get("machine", "an unnamed machine") + (f", served as {served}" if served else "")
    return f"{document['model']}; {where or 'source not recorded'}; on {machine}."
