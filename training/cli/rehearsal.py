"""`python -m training rehearse`: a run with the base's shapes, random weights and few layers."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.contract import hardware
from app.contract.machine import detect
from training.cli.options import DEFAULT_CONFIG, at_least, interpreters, market
from training.cli.stage import Stage
from training.config.run import load


def _rehearse_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(config=DEFAULT_CONFIG.with_name("mistral-7b.toml"), runs=Path("runs/rehearsal"))
    layers = "layers of the second of two rehearsals, the first has 1; by default all on a GPU, otherwise 2"
    parser.add_argument("--layers", type=at_least(2), metavar="N", help=layers)
    rounded = "round the weights to 4 bits as they are, without AutoAWQ's search and its environment"
    parser.add_argument("--without-search", action="store_true", help=rounded)
    market(parser)
    interpreters(parser)


def _rehearse(arguments: argparse.Namespace) -> None:
    from training.plan import Environments
    from training.rehearsal.families import family_of
    from training.rehearsal.stage import Setting, rehearse

    config, machine = load(arguments.config), detect()
    environments = Environments(arguments.training_python, arguments.quantize_python, arguments.vllm_python)
    setting = Setting(
        arguments.market,
        environments,
        machine,
        hardware.profile(),
        arguments.runs,
        search=config.quantize.search and not arguments.without_search,
    )
    print(rehearse(config, family_of(config.base), setting, arguments.layers), end="")


STAGES = (
    Stage("rehearse", _rehearse, "a run with the base's shapes, random weights and few layers", _rehearse_options),
)
