"""A stage of `python -m training`, and the run it works on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from training.artifacts import Artifacts
from training.changes import begin
from training.config.run import Config, load


class Stage(NamedTuple):
    name: str
    command: Callable[[argparse.Namespace], None]
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    reads_run: bool = True
    """Whether the stage has the options `--config` and `--runs`."""


def run_of(arguments: argparse.Namespace) -> tuple[Config, Artifacts]:
    config = load(arguments.config)
    return config, Artifacts(arguments.runs / config.name)


def begun(arguments: argparse.Namespace, stage: str) -> tuple[Config, Artifacts]:
    """Return the run after recording the settings of a stage; see `begin`."""
    config, artifacts = run_of(arguments)
    begin(config, artifacts, stage)
    return config, artifacts


def base_of(arguments: argparse.Namespace) -> Path:
    """Return the folder of the run's prepared base."""
    from training.finetune.base import prepare

    base = load(arguments.config).base
    return prepare(base, arguments.models / "bases" / base.name)
