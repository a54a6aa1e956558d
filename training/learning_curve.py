"""Learning curve: agreement of models trained from the base on increasing numbers of pairs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from app.contract.hardware import Profile
from training.artifacts import Artifacts, read_rows, write_json, write_rows, write_text
from training.config import Config
from training.evaluation import rows
from training.evaluation.pairs import Pair, pairs_of_run
from training.evaluation.stage import EvaluationOptions, evaluate
from training.finetune.merge import merge
from training.finetune.stage import finetune
from training.vllm_server import serve

CURVE_FILE = "curve.json"


def learning_curve(
    config: Config,
    artifacts: Artifacts,
    base: Path,
    vllm: Path,
    profile: Profile,
    sizes: Sequence[int],
    test_pairs: int,
) -> list[dict[str, Any]]:
    """Train on the first brief pairs of the run, for each of `sizes`, and evaluate the merged weights.

    Every model starts from the base with the run's settings and answers the first `test_pairs` brief test pairs.
    Complete points are kept. Writes the run's evaluate/curve.json: [{pairs, agreement, note}].
    """
    fresh = config.finetune.model_copy(update={"continue_from": None, "patience": None})
    settings = config.model_copy(update={"finetune": fresh})
    pairs = pairs_of_run(artifacts, "brief")[:test_pairs]
    points = []
    for size in sizes:
        part = Artifacts(artifacts.folder / "curve" / str(size))
        if not part.done("label"):
            _select_pairs(artifacts, part, size)
        if not part.done("finetune"):
            finetune(settings, part, base)
        if not part.done("merge"):
            merge(base, part.adapter, part.stage("merge") / "weights")
            part.complete("merge", {"base": config.base.name})
        if not part.done("evaluate"):
            part.complete("evaluate", _evaluate(part, pairs, vllm, profile, config.evaluate.concurrency))
        points.append({"pairs": size, **part.manifest("evaluate")})
    write_text(artifacts.stage("evaluate") / CURVE_FILE, json.dumps(points, indent=2) + "\n")
    return points


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
