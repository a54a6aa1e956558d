"""`python -m training run`: every stage, resumed where it stopped."""

from __future__ import annotations

import argparse

from app.contract import hardware
from training.cli.options import at_least, interpreters, market, models, target
from training.cli.stage import Stage, run_of


def _run_options(parser: argparse.ArgumentParser) -> None:
    market(parser)
    interpreters(parser)
    models(parser)
    parser.add_argument("--processes", type=at_least(1), default=1, help="fine-tuning processes, one per GPU")
    target(parser, "1")


def _run(arguments: argparse.Namespace) -> None:
    from training.pipeline import run
    from training.plan import Environments, Target

    config, artifacts = run_of(arguments)
    store = arguments.store or config.publish.store
    run(
        arguments.config,
        config,
        artifacts,
        market=arguments.market,
        environments=Environments(arguments.training_python, arguments.quantize_python, arguments.vllm_python),
        models=arguments.models,
        target=Target(store, arguments.version, arguments.usd_per_hour, arguments.override),
        profile=hardware.profile(),
        processes=arguments.processes,
    )


STAGES = (Stage("run", _run, "all stages, from data set to published model", _run_options),)
