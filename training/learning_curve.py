"""How agreement grows with the training pairs: the base tuned afresh on so many, and examined on the test pairs."""

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
from training.evaluation.stage import Question, evaluate
from training.finetune.merge import merge
from training.finetune.stage import finetune
from training.vllm_server import serve

CURVE = "curve.json"


def learning_curve(
    config: Config,
    artifacts: Artifacts,
    base: Path,
    vllm: Path,
    profile: Profile,
    sizes: Sequence[int],
    asked: int,
) -> list[dict[str, Any]]:
    """Train on the first `sizes` brief pairs of the run, each from the base alone and with the run's settings, and
    ask the merged weights the first `asked` of its brief test pairs. Points that are there already are kept.

    Written to the run's evaluate/curve.json: [{pairs, agreement, note}].
    """
    fresh = config.finetune.model_copy(update={"continue_from": None, "patience": None})
    settings = config.model_copy(update={"finetune": fresh})
    pairs = pairs_of_run(artifacts, "brief")[:asked]
    points = []
    for size in sizes:
        part = Artifacts(artifacts.folder / "curve" / str(size))
        if not part.done("label"):
            _take(artifacts, part, size)
        if not part.done("finetune"):
            finetune(settings, part, base)
        if not part.done("merge"):
            merge(base, part.adapter, part.stage("merge") / "weights")
            part.complete("merge", {"base": config.base.name})
        if not part.done("evaluate"):
            part.complete("evaluate", _examine(part, pairs, vllm, profile, config.evaluate.concurrency))
        points.append({"pairs": size, **part.manifest("evaluate")})
    write_text(artifacts.stage("evaluate") / CURVE, json.dumps(points, indent=2) + "\n")
    return points


def _take(artifacts: Artifacts, part: Artifacts, size: int) -> None:
    """The first `size` brief pairs of the run to train on, and its brief validation pairs."""
    labels = artifacts.folder / "label"
    for name, count in (("train", size), ("validation", None)):
        brief = (row for row in read_rows(labels / f"{name}.jsonl") if row["detail"] == "brief")
        taken = list(islice(brief, count))
        if count and len(taken) < count:
            raise ValueError(f"{labels / name}.jsonl has {len(taken)} brief pairs, {count} asked for")
        write_rows(part.stage("label") / f"{name}.jsonl", taken)
    part.complete("label", artifacts.manifest("label"))


def _examine(part: Artifacts, pairs: Sequence[Pair], vllm: Path, profile: Profile, concurrency: int) -> dict[str, Any]:
    folder = part.stage("evaluate")
    out = folder / "brief-merged.json"
    unfinished = rows.path_beside(out).with_suffix(".unfinished")
    with serve(vllm, part.folder / "merge" / "weights", part.folder.name, folder / "vllm.log", profile) as url:
        found = asyncio.run(evaluate(url, None, None, pairs, Question("brief", concurrency), unfinished))
    rows.write(rows.path_beside(out), found.rows)
    write_json(out, {**found.document, "served": {"form": "merged", "dtype": profile.dtype}})
    seconds = part.manifest("finetune")["seconds"]
    return {
        "agreement": found.document["agreement"],
        "note": f"merged weights, from the base in {seconds:.0f} s",
    }
