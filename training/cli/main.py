"""`python -m training STAGE`: one stage, or `run` for all."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from app.contract.manifest import UnusableModel
from training.cli import data, evaluate, learning_curve, publication, rehearsal, responses, weights, whole_run
from training.cli.options import DEFAULT_CONFIG
from training.config.run import ConfigError

STAGES = (
    whole_run.STAGES
    + rehearsal.STAGES
    + data.STAGES
    + weights.STAGES
    + evaluate.STAGES
    + learning_curve.STAGES
    + responses.STAGES
    + publication.STAGES
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a stage; user errors are printed in one line with exit code 2."""
    arguments = _parser().parse_args(argv)
    start = time.monotonic()
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars would fill a log
    try:
        arguments.command(arguments)
        peak, taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, time.monotonic() - start
        if taken >= 1:
            print(f"{taken:.0f} s, {peak:.1f} GiB peak memory", file=sys.stderr)
    except (ConfigError, UnusableModel, OSError, MemoryError, ValueError) as error:
        print(f"training: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        print(f"training: a stage failed with exit code {error.returncode}; complete stages are kept", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Train the model, one stage at a time.")
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    for stage in STAGES:
        sub = stages.add_parser(stage.name, help=stage.help, description=stage.help)
        sub.set_defaults(command=stage.command)
        if stage.reads_run:
            sub.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
            sub.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
        stage.add_options(sub)
    return parser
