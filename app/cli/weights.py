"""`conviction weights`: check the hashes of the served model's files before a vLLM elsewhere loads them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from app.cli import streams
from app.contract.manifest import UnusableModel, WeightKind
from app.settings.backends import ModelSettings
from app.settings.loading import load
from app.settings.supervisor import SupervisorSettings
from app.supervisor.weights import choose

EPILOG = """exit status: 0 every file is the one that was built, 2 a file differs, or the weights are missing"""


def run(argv: Sequence[str]) -> int:
    """Check the weights under CONVICTION_MODELS. Raises `InvalidSettings`."""
    options = parser().parse_args(argv)
    store, models = load(ModelSettings), load(SupervisorSettings).models
    try:
        weights = choose(store.model_store, models, options.kind, foreign=store.allow_foreign_model)
        weights.verify()
    except UnusableModel as error:
        streams.note(f"conviction weights: {error}")
        return 2
    streams.write(f"{weights.model_id}: {len(weights.build.weights)} files in {weights.folder} match their hashes")
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conviction weights",
        description="Check the files of the model that model_store/current names, in the folder CONVICTION_MODELS "
        "(.models), against the hashes recorded when they were built.",
        epilog=EPILOG,
    )
    parser.add_argument("--kind", choices=get_args(WeightKind), default="awq", help="the form to check (awq)")
    return parser
