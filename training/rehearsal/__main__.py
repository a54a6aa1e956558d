"""The steps of a rehearsal that a run does not have, each in a process whose time and memory are measured."""

from __future__ import annotations

import argparse
import json
from decimal import Decimal
from pathlib import Path

from app.contract import hardware
from training.artifacts import Artifacts
from training.config.run import load
from training.pipeline import Run
from training.plan import Environments, Plan, Target
from training.rehearsal.answer import answer
from training.rehearsal.base import random_base
from training.rehearsal.depth import VERSION
from training.rehearsal.families import Family


def main(argv: list[str] | None = None) -> None:
    given = _parser().parse_args(argv)
    config = load(given.config)
    artifacts = Artifacts(given.runs / config.name)
    if given.step == "base":
        weights = random_base(
            Family(**json.loads(given.family)), given.layers, given.sentencepiece, config.base, given.models
        )
        artifacts.complete("base", {"weights": weights})
    else:
        none, target = Path(), Target(Path(), VERSION, Decimal(0))
        plan = Plan(config, artifacts, hardware.profile(), Environments(none, none, given.vllm_python), none, target)
        answer(Run(given.config, plan, given.models))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.rehearsal", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    base, asked = steps.add_parser("base"), steps.add_parser("answer")
    for step in (base, asked):
        for folder in ("--config", "--runs", "--models"):
            step.add_argument(folder, type=Path, required=True)
    base.add_argument("--family", required=True)
    base.add_argument("--layers", type=int, required=True)
    base.add_argument("--sentencepiece", type=Path, required=True)
    asked.add_argument("--vllm-python", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main()
