"""Stages that report on a run, and publish its model."""

from __future__ import annotations

import argparse
import asyncio
import os
from decimal import Decimal
from pathlib import Path

from training.changes import require_unchanged
from training.cli.options import DEFAULT_CONFIG, hourly, store, target
from training.cli.stage import Stage, run_of
from training.config.run import load


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="folder; by default the run's report/")
    hourly(parser)


def _report(arguments: argparse.Namespace) -> None:
    from training.report.stage import report

    config, artifacts = run_of(arguments)
    out = arguments.out or artifacts.folder / "report"
    print(report(config, artifacts, out, arguments.usd_per_hour))


def _publish_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the served quantized model, for the golden answers")
    target(parser, None)
    parser.add_argument("--push-to", metavar="ORG/REPO", help="Hugging Face repository; needs HF_TOKEN")
    parser.add_argument("--push-weights", type=Path, metavar="DIR", help="4-bit weights to push with it")


def _publish(arguments: argparse.Namespace) -> None:
    from training.publish.golden import answers
    from training.publish.stage import admit, publish

    if arguments.push_to:
        from training.publish.hub import credentials

        credentials(os.environ)
    config, artifacts = run_of(arguments)
    require_unchanged(config, artifacts)
    target = arguments.store or config.publish.store, arguments.version
    admit(config, artifacts, *target, arguments.override)
    golden = asyncio.run(answers(arguments.url))
    folder = publish(config, artifacts, *target, golden, arguments.usd_per_hour, arguments.override)
    print(folder)
    if arguments.push_to:
        _to_hub(folder, arguments.push_to, arguments.push_weights)


def _push_options(parser: argparse.ArgumentParser) -> None:
    store(parser)
    parser.add_argument("--version", metavar="NAME/VERSION", help="by default the store's current one")
    parser.add_argument("--to", required=True, metavar="ORG/REPO")
    parser.add_argument("--weights", type=Path, help="folder of 4-bit weights to push with it")


def _push(arguments: argparse.Namespace) -> None:
    from app.contract.manifest import current

    version = arguments.store / arguments.version if arguments.version else current(arguments.store)
    _to_hub(version, arguments.to, arguments.weights)


def _to_hub(version: Path, repo: str, weights: Path | None) -> None:
    from training.publish.hub import credentials, push

    print(push(version, repo, *credentials(os.environ), weights))


def _costs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, action="append", help="configurations of the runs to show; by default all shipped ones"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs, or of folders of runs")
    store(parser)
    parser.add_argument(
        "--usd-per-hour", type=Decimal, help="hourly price of the serving machine; by default the store's"
    )
    text = "results of the benchmarks, for the time of one call (bench/results.json)"
    parser.add_argument("--bench", type=Path, default=Path("bench/results.json"), help=text)
    parser.add_argument("--out", type=Path, help="folder for costs.md and the break-even chart")


def _costs(arguments: argparse.Namespace) -> None:
    from training.costs.stage import costs

    configs = [load(path) for path in arguments.config or sorted(DEFAULT_CONFIG.parent.glob("*.toml"))]
    folders = arguments.runs, arguments.store
    print(costs(configs, *folders, arguments.usd_per_hour, arguments.bench, arguments.out), end="")


STAGES = (
    Stage("report", _report, "evaluations, baselines and curves of a run, as Markdown and HTML", _report_options),
    Stage("publish", _publish, "into the model store", _publish_options),
    Stage(
        "push",
        _push,
        "push a published version to a Hugging Face repository; needs HF_TOKEN",
        _push_options,
        reads_run=False,
    ),
    Stage("costs", _costs, "the case study's tables of costs beside recorded runs'", _costs_options, reads_run=False),
)
