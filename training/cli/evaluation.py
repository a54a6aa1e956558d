"""Stages that calibrate probabilities and compare models."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from app.contract import hardware
from training.changes import require_unchanged
from training.cli.options import DEFAULT_CONFIG, at_least, market, models
from training.cli.stage import Stage, base_of, begun, run_of


def _calibrate_options(parser: argparse.ArgumentParser) -> None:
    text = "evaluation of the served weights on the validation split; repeatable, by default calibrate/*-awq.json"
    parser.add_argument("--evaluation", type=Path, action="append", default=[], metavar="FILE", help=text)


def _calibrate(arguments: argparse.Namespace) -> None:
    from training.evaluation.calibration import calibrate

    print(json.dumps(calibrate(run_of(arguments)[1], arguments.evaluation), indent=2))


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


def _responses_options(parser: argparse.ArgumentParser) -> None:
    def several(name: str, metavar: str, text: str) -> None:
        parser.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")

    several("--backend", "NAME=URL[#MODEL]", "a gateway or a server to ask")
    several("--raw", "NAME=URL[#MODEL]", "a server to ask for free text, without a schema")
    several("--key", "NAME=VARIABLE", "the environment variable that holds a backend's API key")
    several("--parameters", "NAME=SIZE", "number of parameters of a backend's model, for display")
    parser.add_argument("--out", type=Path, help="Markdown file; by default standard output")


def _responses(arguments: argparse.Namespace) -> None:
    from training.artifacts import write_text
    from training.evaluation.responses import backends, responses, table

    queried = backends(arguments.backend, arguments.raw, arguments.parameters, arguments.key, os.environ)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    document = "\n".join(table(asyncio.run(responses(queried)))) + "\n"
    if arguments.out is None:
        print(document, end="")
    else:
        write_text(arguments.out, document)


STAGES = (
    Stage(
        "calibrate", _calibrate, "fit the probabilities of the served weights on validation pairs", _calibrate_options
    ),
    Stage("learning-curve", _curve, "agreement by number of training pairs, from data set to report", _curve_options),
    Stage("responses", _responses, "answers to the SNPS prompt, side by side", _responses_options, reads_run=False),
)
