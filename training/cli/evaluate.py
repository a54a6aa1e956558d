"""Agreement of a served model with the teacher, and the calibration of its probabilities."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from app.contract import hardware
from training.artifacts import write_bytes, write_json
from training.cli.options import at_least, hourly
from training.cli.stage import Stage, run_of
from training.config.dataset import SPLITS
from training.config.evaluate import Evaluate

if TYPE_CHECKING:
    from training.evaluation.pairs import Pair
    from training.evaluation.stage import Evaluation, EvaluationOptions

MARKET_PAIRS = 1000
"""Pairs of a market folder, without `--pairs`."""


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="a Conviction gateway or an OpenAI-style server")
    parser.add_argument("--backend", help="the gateway's backend, or the server's model")
    parser.add_argument("--key", help="API key, if one is needed")
    parser.add_argument("--detail", choices=("brief", "full"), default="brief")
    parser.add_argument("--form", help="form of the served weights, such as awq; recorded")
    parser.add_argument("--dtype", choices=get_args(hardware.Dtype), help="dtype of the served weights; recorded")
    parser.add_argument("--market", type=Path, help="folder of ohlcv*.parquet; without it, a split of the run")
    split = "split of the run (test); choose settings by validation, test is for the version to be published"
    parser.add_argument("--split", choices=SPLITS, help=split)
    parser.add_argument("--options", choices=("provider", "simulated", "none"), default="simulated")
    parser.add_argument("--teacher", choices=("rules",), default="rules", help="teacher for a market's pairs")
    parser.add_argument(
        "--pairs", type=at_least(1), help="maximum number of pairs; by default 1000 of a market, all of a run"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=at_least(1), help="concurrent requests; by default the run's, or 8")
    parser.add_argument(
        "--consistency", type=at_least(0), metavar="N", help="pairs asked again with irrelevant changes"
    )
    parser.add_argument("--calibrated", action="store_true", help="apply the calibration of the run to probabilities")
    parser.add_argument("--resume", action="store_true", help="resume an interrupted evaluation of OUT")
    hourly(parser)
    parser.add_argument("--out", type=Path, required=True)


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluation import rows
    from training.evaluation.stage import evaluate

    if arguments.market and arguments.split:
        raise ValueError("--split is of a run: it cannot be combined with --market")
    pairs, settings, source = _of_market(arguments) if arguments.market else _of_run(arguments)
    beside = rows.rows_path(arguments.out)
    unfinished = beside.with_suffix(".unfinished")
    if not arguments.resume:
        unfinished.unlink(missing_ok=True)
    options = _options(arguments, settings)
    found = asyncio.run(evaluate(arguments.url, arguments.backend, arguments.key, pairs, options, unfinished))
    rows.write(beside, found.rows)
    _write(found, source, arguments)
    unfinished.unlink()
    print(json.dumps({"agreement": found.document["agreement"], "failures": found.document["failures"]}))


def _of_market(arguments: argparse.Namespace) -> tuple[Sequence[Pair], Evaluate, dict[str, Any]]:
    """Return pairs of a market folder, labelled by the rules, with settings and source."""
    from training.evaluation.pairs import pairs_of_market

    count = arguments.pairs or MARKET_PAIRS
    pairs = pairs_of_market(arguments.market, arguments.options, arguments.detail, count, arguments.seed)
    source = {"market": arguments.market.name, "options": arguments.options, "seed": arguments.seed}
    return pairs, Evaluate(consistency=0), source


def _of_run(arguments: argparse.Namespace) -> tuple[Sequence[Pair], Evaluate, dict[str, Any]]:
    """Return a split of the run, with its settings and source."""
    from training.evaluation.pairs import pairs_of_run

    config, artifacts = run_of(arguments)
    split = arguments.split or "test"
    pairs = pairs_of_run(artifacts, arguments.detail, split)[: arguments.pairs]
    return pairs, config.evaluate, {"run": config.name, "split": split, "options": config.dataset.options}


def _options(arguments: argparse.Namespace, settings: Evaluate) -> EvaluationOptions:
    from training.evaluation.calibration import calibration_of
    from training.evaluation.stage import EvaluationOptions

    return EvaluationOptions(
        arguments.detail,
        settings.concurrency if arguments.concurrency is None else arguments.concurrency,
        settings.consistency if arguments.consistency is None else arguments.consistency,
        arguments.form,
        arguments.dtype,
        calibration_of(run_of(arguments)[1], arguments.detail) if arguments.calibrated else None,
    )


def _write(found: Evaluation, source: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write the evaluation and, where it has one, the cascade's plot."""
    from training.evaluation.frontier import API_MODEL
    from training.report import plots

    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    cascade = found.cascade(arguments.usd_per_hour)
    write_json(arguments.out, {**found.document, "cascade": cascade, "source": source, "machine": machine})
    if cascade is not None:
        drawn = plots.frontier(cascade["points"], cascade["api_alone"], found.document["model"], API_MODEL)
        write_bytes(arguments.out.with_suffix(".cascade.png"), drawn)


def _calibrate_options(parser: argparse.ArgumentParser) -> None:
    text = "evaluation of the served weights on the validation split; repeatable, by default calibrate/*-awq.json"
    parser.add_argument("--evaluation", type=Path, action="append", default=[], metavar="FILE", help=text)


def _calibrate(arguments: argparse.Namespace) -> None:
    from training.evaluation.calibration import calibrate

    print(json.dumps(calibrate(run_of(arguments)[1], arguments.evaluation), indent=2))


STAGES = (
    Stage("evaluate", _evaluate, "agreement of a served model with the teacher", _evaluate_options),
    Stage(
        "calibrate",
        _calibrate,
        "fit the probabilities of the served weights on validation pairs",
        _calibrate_options,
    ),
)
