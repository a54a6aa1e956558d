"""`python -m training learning-curve`: agreement by number of training pairs."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.contract import hardware
from training.changes import require_unchanged
from training.cli.options import DEFAULT_CONFIG, at_least, market, models
from training.cli.stage import Stage, base_of, begun, run_of


def _curve_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(config=DEFAULT_CONFIG.with_name("learning-curve.toml"))
    market(parser)
    models(parser)
    sizes = "training pairs of a point; repeatable (250, 1000, 4000, 16000)"
    parser.add_argument("--pairs", type=at_least(1), action="append", help=sizes)
    parser.add_argument("--test-pairs", type=at_least(1), help="brief test pairs; by default all")
    parser.add_argument("--vllm-python", type=Path, default=Path(".envs/vllm/bin/python"))


def _curve(arguments: argparse.Namespace) -> None:
    from training.dataset.stage import build
    from training.evaluation.baselines import CURVE_SIZES
    from training.labeling.stage import label
    from training.learning_curve import learning_curve

    config, artifacts = run_of(arguments)
    sizes = sorted(set(arguments.pairs or CURVE_SIZES))
    if sizes[-1] > (there := config.dataset.train.brief):
        raise ValueError(f"--pairs {sizes[-1]}, and dataset.train of {arguments.config} has {there} brief pairs")
    require_unchanged(config, artifacts)
    if not artifacts.done("dataset"):
        build(*begun(arguments, "dataset"), arguments.market)
    if not artifacts.done("label"):
        label(*begun(arguments, "label"))
    profile, vllm = hardware.profile(), arguments.vllm_python
    print(learning_curve(config, artifacts, base_of(arguments), vllm, profile, sizes, arguments.test_pairs))


STAGES = (
    Stage("learning-curve", _curve, "agreement by number of training pairs, from data set to report", _curve_options),
)
