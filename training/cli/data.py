"""Stages that make a run's pairs."""

from __future__ import annotations

import argparse

from training.cli.options import at_least, market
from training.cli.stage import Stage, begun, run_of


def _dataset(arguments: argparse.Namespace) -> None:
    from training.dataset.stage import build

    build(*begun(arguments, "dataset"), arguments.market)


def _label_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--estimate", action="store_true", help="only print the estimate")
    repeat, sample = "requests per sampled prompt, to measure the teacher's self-agreement", "prompts in that sample"
    parser.add_argument("--repeat", type=at_least(1), default=1, metavar="N", help=repeat)
    parser.add_argument("--sample", type=at_least(1), default=250, metavar="N", help=f"{sample} (250)")


def _label(arguments: argparse.Namespace) -> None:
    from training.labeling.stage import label

    run = run_of(arguments) if arguments.estimate else begun(arguments, "label")
    label(*run, repeat=arguments.repeat, sample=arguments.sample, estimate_only=arguments.estimate)


STAGES = (
    Stage("dataset", _dataset, "metrics of tickers at dates", market),
    Stage("label", _label, "the teacher's answers", _label_options),
)
