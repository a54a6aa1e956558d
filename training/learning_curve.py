"""Learning curve: agreement of models trained from the base on increasing numbers of pairs, beside the baselines'."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from app.contract.hardware import Profile
from training.artifacts import Artifacts, read_rows, write_json, write_rows, write_text
from training.changes import begin
from training.config.run import Config
from training.costs import case_study
from training.evaluation import baselines, rows
from training.evaluation.clients import Prediction
from training.evaluation.pairs import Pair, pairs_of_run
from training.evaluation.stage import EvaluationOptions, evaluate
from training.finetune.merge import merge
from training.finetune.stage import finetune
from training.report.findings import DISCLAIMER
from training.report.learning import CURVE_FILE, MODEL, Curves, learning
from training.report.page import write
from training.vllm_server import serve

CLAIM = "the case study's claim"
"""The published figures for Mistral 7B and GPT-4: other pairs than the curves' and no interval."""


def learning_curve(
    config: Config,
    artifacts: Artifacts,
    base: Path,
    vllm: Path,
    profile: Profile,
    sizes: Sequence[int],
    test_pairs: int | None,
) -> Path:
    """Train on the first brief pairs of the run, for each of `sizes`, and evaluate the merged weights.

    Every model starts from the base with the run's settings; it and the baselines, fitted on the same training pairs,
    answer the first `test_pairs` brief test pairs, or all. Complete points are kept. Writes the run's
    evaluate/curve.json and curve/curve.md; returns the path of the HTML page beside it.
    """
    fresh = config.finetune.model_copy(update={"continue_from": None, "patience": None, "pairs": None})
    settings = config.model_copy(update={"finetune": fresh})
    pairs = pairs_of_run(artifacts, "brief")[:test_pairs]
    parts = {size: Artifacts(artifacts.folder / "curve" / str(size)) for size in sizes}
    for size, part in parts.items():
        begin(settings, part, "label")
        if not part.done("label"):
            _select_pairs(artifacts, part, size)
    beside = _baselines(parts, pairs)
    mine = []
    for size, part in parts.items():
        _train(settings, part, base)
        point = _evaluated(part, pairs, vllm, profile, config.evaluate.concurrency)
        mine.append({"pairs": size, **point})
    curves = {MODEL: mine, **beside, CLAIM: _claim()}
    write_text(artifacts.stage("evaluate") / CURVE_FILE, json.dumps(curves, indent=2) + "\n")
    title = f"{config.name}: agreement by number of training pairs"
    teacher = artifacts.manifest("label")["model"]
    note = f"The teacher is {teacher}; all but {CLAIM} answer the same {len(pairs):,} test pairs. {DISCLAIMER}"
    return write(artifacts.folder / "curve", "curve", title, [f"# {title}", note, *learning(curves, "brief")])


def _select_pairs(artifacts: Artifacts, part: Artifacts, size: int) -> None:
    """Write the first `size` brief training pairs and all brief validation pairs of the run."""
    labels = artifacts.folder / "label"
    for name, count in (("train", size), ("validation", None)):
        brief = (row for row in read_rows(labels / f"{name}.jsonl") if row["detail"] == "brief")
        taken = list(islice(brief, count))
        if count and len(taken) < count:
            raise ValueError(f"{labels / name}.jsonl has {len(taken)} brief pairs, {count} required")
        write_rows(part.stage("label") / f"{name}.jsonl", taken)
    part.complete("label", artifacts.manifest("label"))


def _baselines(parts: dict[int, Artifacts], pairs: Sequence[Pair]) -> Curves:
    """Return the baselines' curves on the training pairs of each part and the test pairs."""
    questions = [rows.row(pair, Prediction(failure="not asked"), rows.Source("", "brief"), 0.0) for pair in pairs]
    train = {size: baselines.read_training_set(part.folder / "label" / "train.jsonl") for size, part in parts.items()}
    return {
        name: [{"pairs": size, "agreement": baselines.agreement(name, train[size], questions)} for size in parts]
        for name in baselines.CURVES
    }


def _claim() -> list[dict[str, Any]]:
    shares = case_study.AGREEMENT.items()
    return [{"pairs": pairs, "agreement": {"value": float(share)}} for pairs, share in shares]


def _train(settings: Config, part: Artifacts, base: Path) -> None:
    begin(settings, part, "finetune")
    if not part.done("finetune"):
        finetune(settings, part, base)
    if not part.done("merge"):
        merge(base, part.adapter, part.stage("merge") / "weights")
        part.complete("merge", {"base": settings.base.name})


def _evaluated(
    part: Artifacts, pairs: Sequence[Pair], vllm: Path, profile: Profile, concurrency: int
) -> dict[str, Any]:
    """Return the point of a part, evaluating its weights unless that was done on as many pairs."""
    if not part.done("evaluate") or part.manifest("evaluate")["agreement"]["n"] != len(pairs):
        part.complete("evaluate", _evaluate(part, pairs, vllm, profile, concurrency))
    return part.manifest("evaluate")


def _evaluate(part: Artifacts, pairs: Sequence[Pair], vllm: Path, profile: Profile, concurrency: int) -> dict[str, Any]:
    folder = part.stage("evaluate")
    out = folder / "brief-merged.json"
    unfinished = rows.rows_path(out).with_suffix(".unfinished")
    options = EvaluationOptions("brief", concurrency, form="merged", dtype=profile.dtype)
    with serve(vllm, part.folder / "merge" / "weights", part.folder.name, folder / "vllm.log", profile) as url:
        found = asyncio.run(evaluate(url, None, None, pairs, options, unfinished))
    rows.write(rows.rows_path(out), found.rows)
    write_json(out, found.document)
    seconds = part.manifest("finetune")["seconds"]
    return {
        "agreement": found.document["agreement"],
        "note": f"merged weights, from the base in {seconds:.0f} s",
    }
