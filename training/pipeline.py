"""The whole run, a stage after the other, each in the environment whose pins it needs.

    dataset -> label -> finetune -> merge -> quantise -> evaluate -> publish

Every stage writes its manifest last, so a run that was cut off goes on with the first stage that has none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from app.contract.fingerprint import fingerprint
from training.artifacts import Artifacts
from training.build import ALLOCATOR
from training.config import Config
from training.serving import serve

DETAILS = ("brief", "full")


@dataclass(frozen=True)
class Environments:
    """The interpreters of the environments, made by `make`."""

    training: Path
    quantise: Path
    vllm: Path


def run(
    config_file: Path,
    config: Config,
    artifacts: Artifacts,
    *,
    market: Path,
    environments: Environments,
    store: Path,
    version: str,
    usd_per_hour: Decimal,
) -> None:
    """Make and publish a model; raises `subprocess.CalledProcessError` where a stage fails."""
    common = ["--config", str(config_file), "--runs", str(artifacts.folder.parent)]

    def stage(name: str, python: Path, *arguments: str | Path) -> None:
        print(f"== {name}", file=sys.stderr, flush=True)
        command = [str(python), "-m", "training", name, *map(str, arguments)]
        subprocess.run(command, check=True, env={**os.environ, **ALLOCATOR})

    if not artifacts.done("dataset"):
        stage("dataset", environments.training, *common, "--market", market)
    if not artifacts.done("label"):
        stage("label", environments.training, *common)
    if not artifacts.done("finetune"):
        stage("finetune", environments.training, *common)
    if not artifacts.done("merge"):
        stage("merge", environments.training, *common)
    merged, quantised = artifacts.stage("merge"), artifacts.stage("quantise")
    if not artifacts.done("quantise"):
        stage(
            "quantise", environments.quantise,
            "--merged", merged / "weights", "--calibration", merged / "calibration.json",
            "--out", quantised / "weights", "--settings", config.quantise.model_dump_json(),
        )  # fmt: skip
        artifacts.complete("quantise", config.quantise.model_dump())
    reports = artifacts.stage("evaluate")
    model_id = f"{config.name}-{version}-{fingerprint()}"
    with serve(environments.vllm, quantised / "weights", model_id, reports / "vllm.log") as url:
        for detail in DETAILS:
            out = reports / f"{detail}-awq.json"
            if not out.exists():
                stage("evaluate", environments.training, *common, "--url", url, "--detail", detail, "--out", out)
        stage(
            "publish", environments.training, *common,
            "--store", store, "--version", version, "--url", url, "--usd-per-hour", str(usd_per_hour),
        )  # fmt: skip
