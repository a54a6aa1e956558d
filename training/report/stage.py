"""A run's evidence in one place: report.md with its pictures, and report.html that holds all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.pricing.prices import CapacityPrice, list_price
from training.artifacts import Artifacts, write_bytes, write_text
from training.config import Config
from training.evaluation import baselines
from training.evaluation.frontier import frontier
from training.finetune import history
from training.finetune.record import tuning
from training.report import plots, tables
from training.report.findings import DISCLAIMER, cascade, findings, teacher_name
from training.report.page import Block, Heading, Picture, Points, Text, html, markdown
from training.report.standings import Standing, standings

USD_PER_HOUR = Decimal("0.10")
"""An assumption: about two rented cores."""


class _Share(BaseModel):
    value: float
    low: float
    high: float


class _Learnt(BaseModel):
    """A point of the learning curve: a model taught with so many pairs and evaluated as the shipped one is."""

    pairs: int
    agreement: _Share
    note: str = ""


def report(config: Config, artifacts: Artifacts, out: Path, usd_per_hour: Decimal = USD_PER_HOUR) -> Path:
    """Write report.md, its pictures and report.html into `out`; the path of the last. The hourly price is that of the
    machine that serves the model.

    Raises `FileNotFoundError` naming the stage that has to run first, `ValueError` naming what is malformed.
    """
    labels, tuned = artifacts.manifest("label"), tuning(artifacts)
    train = baselines.taught(artifacts.folder / "label" / "train.jsonl")
    examined = standings(artifacts.folder / "evaluate", train)
    learnt = _learnt(artifacts.folder / "evaluate" / "curve.json")
    teacher = teacher_name(labels["model"])
    title = f"{config.name}: how far it agrees with the {teacher}"
    blocks = [
        Heading(title, 1),
        Text(f"The teacher is the {teacher} ({labels['model']}). {DISCLAIMER}"),
        *(block for one in examined for block in _in_short(one, teacher, train.tickers)),
        *(block for one in examined for block in _in_full(one, teacher)),
        *(block for one in examined for block in _cascade(one, teacher, config.costs.api_model, usd_per_hour)),
        *_learning(config, train, examined[0], learnt),
        *_training(tuned),
        *_how(examined),
    ]
    return _write(out, title, blocks)


def _in_short(standing: Standing, teacher: str, taught: frozenset[str]) -> Iterator[Block]:
    yield Heading(f"Answers in {standing.detail}")
    yield tables.summary(standing)
    yield Points(findings(standing, teacher, taught))


def _in_full(standing: Standing, teacher: str) -> Iterator[Block]:
    shipped, name = standing.shipped, standing.detail
    yield Heading(f"More about answers in {name}")
    yield Heading("Actions", 3)
    caption = f"{shipped.name}, {name}: what it said where the {teacher} said what"
    yield Picture(f"{name}-confusion.png", caption, plots.confusion(shipped.scores["confusion"], teacher))
    yield tables.classes(shipped)
    yield Heading("Conviction and calibration", 3)
    yield tables.conviction(standing)
    stated = {key: curve for key, curve in shipped.scores["calibration"].items() if curve}
    if stated:
        caption = "How often it agreed where it said how sure it was; conviction read as 1/3 at 1 and 1 at 10"
        yield Picture(f"{name}-reliability.png", caption, plots.reliability(stated))
    yield Heading("With metrics missing", 3)
    yield tables.missing(standing)
    parts = {one.name: one.scores["by_missing"] for one in (*standing.models[:1], *standing.baselines[:2])}
    yield Picture(f"{name}-missing.png", "Agreement by how many metrics were not given", plots.by_missing(parts))
    if any("consistency" in model.document for model in standing.models):
        yield Heading("Steadiness", 3)
        yield tables.consistency(standing)
    yield Heading("Any two compared", 3)
    yield tables.matrix(standing)
    yield Heading("Tokens and time", 3)
    yield tables.speed(standing)


def _cascade(standing: Standing, teacher: str, api: str, usd_per_hour: Decimal) -> Iterator[Block]:
    """Of answers in brief, which is how a cascade asks first."""
    shipped = standing.shipped
    if standing.detail != "brief":
        return
    hosted = CapacityPrice(usd_per_hour, Decimal(shipped.document["speed"]["tokens_per_hour"]))
    found = frontier(shipped.rows, hosted, list_price(api))
    if found is None:
        return
    yield Heading("As the first of a cascade")
    yield Points(list(cascade(found, teacher, api)))
    yield tables.frontier(found, api)
    drawn = plots.frontier(found["points"], found["api_alone"], shipped.name, api)
    caption = f"Cost against agreement over thresholds; {usd_per_hour} USD an hour for the machine, at the load above"
    yield Picture("cascade.png", caption, drawn)


def _learning(
    config: Config, train: baselines.Taught, standing: Standing, learnt: Sequence[_Learnt]
) -> Iterator[Block]:
    """The model's curve, where it was measured, beside gradient boosting's on the same test pairs."""
    sizes = sorted({*config.evaluate.curve, *(point.pairs for point in learnt)})
    boosted = baselines.curve(train, standing.shipped.rows, sizes)
    mine = [point.model_dump() for point in sorted(learnt, key=lambda point: point.pairs)]
    drawn = {**({"the model": mine} if mine else {}), "gradient boosting": boosted}
    yield Heading("Learning curve")
    if not mine:
        yield Text("The model was not trained at several sizes, so gradient boosting's curve stands alone.")
    yield tables.learning(mine, boosted)
    yield Picture("learning.png", f"Agreement in {standing.detail} over training pairs", plots.learning(drawn))


def _training(tuned: Mapping[str, Any]) -> Iterator[Block]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "training.png"
        history.draw(tuned["history"], path)
        drawn = path.read_bytes()
    yield Heading("Training")
    yield Text(f"{tuned['pairs']:,} pairs, {tuned['tokens']:,} tokens, {tuned['seconds']:,.0f} s.")
    if tuned.get("continued_from"):
        yield Text(
            f"It went on from {tuned['continued_from']}, which had learnt from other pairs before; "
            "baselines learn from this run's alone."
        )
    if qat := tuned.get("qat"):
        yield Text(
            f"The last {qat['seconds']:,.0f} s, on {qat['pairs']:,} of the pairs once more, were quantisation-aware: "
            "every weight was rounded as its 4 bits would round it."
        )
    yield Picture(path.name, "Loss on training and validation pairs by step", drawn)


def _how(examined: Sequence[Standing]) -> Iterator[Block]:
    yield Heading("How this was measured")
    yield Points(
        [
            "An answer that could not be had, was cut at its length or could not be read counts as wrong.",
            "Intervals are 95%: by bootstrap over whole tickers, since dates of one ticker are correlated, and beside "
            "it Wilson's, which takes every pair for a draw of its own.",
            "Baselines are fitted on the run's training pairs alone and asked the very test pairs of the model. "
            "Readings are the words that the prompt states for a figure, such as RSI: overbought.",
            "Kappa is agreement beyond chance. ECE is the mean distance between what was stated and what came true.",
            "With its metrics in another order a question is the same prompt by construction: what changes there is "
            "the server's own noise. Rounding is to four significant digits; a figure at a bound may cross it, which "
            "may change the teacher's own answer too.",
            *(f"{model.name}, {one.detail}: {_source(model.document)}" for one in examined for model in one.models),
        ]
    )


def _source(document: Mapping[str, Any]) -> str:
    where = ", ".join(f"{name} {value}" for name, value in document.get("source", {}).items())
    served = " in ".join((document.get("served") or {}).values())
    machine = document.get("machine", "a machine unnamed") + (f", served as {served}" if served else "")
    return f"{document['model']}; {where or 'source not recorded'}; on {machine}."


def _learnt(path: Path) -> list[_Learnt]:
    if not path.exists():
        return []
    try:
        return TypeAdapter(list[_Learnt]).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _write(out: Path, title: str, blocks: Sequence[Block]) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        if isinstance(block, Picture):
            write_bytes(out / block.name, block.png)
    write_text(out / "report.md", markdown(blocks))
    write_text(out / "report.html", html(title, blocks))
    return out / "report.html"
