"""The whole run, a stage after the other, each in the environment whose pins it needs.

    dataset -> label -> finetune (-> qat) -> merge -> quantise -> evaluate -> report -> publish

Every stage writes its manifest last, so a run that was cut off goes on with the first stage that has none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from app.contract.fingerprint import fingerprint
from app.contract.manifest import verify
from training.artifacts import Artifacts, write_json
from training.build import ALLOCATOR
from training.config import Config
from training.vllm_server import serve

System = Literal["awq", "merged", "adapter", "base"]
EXAMINED: dict[System, tuple[str, ...]] = {
    "base": ("brief",),
    "adapter": ("brief",),
    "merged": ("brief", "full"),
    "awq": ("brief", "full"),
}
"""What is asked the test pairs, in which detail."""


@dataclass(frozen=True)
class Environments:
    """The interpreters of the environments, made by `make`."""

    training: Path
    quantise: Path
    vllm: Path


@dataclass(frozen=True)
class Target:
    """Where a run is published, as what, and what its machine costs an hour; checks named in `overrides` may fail."""

    store: Path
    version: str
    usd_per_hour: Decimal
    overrides: Sequence[str] = ()


class Run:
    """A run's config, folder and environments; each method is a step of it."""

    def __init__(
        self, config_file: Path, config: Config, artifacts: Artifacts, environments: Environments, models: Path
    ) -> None:
        self.config, self.artifacts, self.environments = config, artifacts, environments
        self.base = models / "bases" / config.base.name
        self.common = ["--config", str(config_file), "--runs", str(artifacts.folder.parent)]
        self.models = ["--models", str(models)]

    def stage(self, name: str, *arguments: str | Path, launcher: Sequence[str] = ("training",)) -> None:
        """Run a stage in its environment, and note in stages.json the time and memory it took.

        Raises `subprocess.CalledProcessError` where it fails.
        """
        print(f"== {name}", file=sys.stderr, flush=True)
        python = self.environments.quantise if name == "quantise" else self.environments.training
        command, start = [str(python), "-m", *launcher, name, *map(str, arguments)], time.monotonic()
        child = subprocess.Popen(command, env={**os.environ, **ALLOCATOR})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        noted = self.artifacts.folder / "stages.json"
        stages = json.loads(noted.read_text()) if noted.exists() else {}
        took = {"seconds": round(time.monotonic() - start, 1), "peak_gib": round(usage.ru_maxrss / 2**20, 2)}
        write_json(noted, {**stages, name: took})

    def make(self, market: Path, processes: int) -> None:
        """Bars to 4-bit weights; stages that are complete are passed over."""
        done = self.artifacts.done
        if not done("dataset"):
            self.stage("dataset", *self.common, "--market", market)
        if not done("label"):
            self.stage("label", *self.common)
        if not done("finetune"):
            self.stage("finetune", *self.common, *self.models, launcher=launcher(processes))
        if self.config.qat and not done("qat"):
            self.stage("qat", *self.common, *self.models, launcher=launcher(processes))
        if not done("merge"):
            self.stage("merge", *self.common, *self.models)
        if not done("quantise"):
            merged, settings = self.artifacts.stage("merge"), self.config.quantise
            verify(merged / "weights", self.artifacts.manifest("merge")["weights"])
            self.stage(
                "quantise", "--merged", merged / "weights", "--calibration", merged / "calibration.json",
                "--out", self.weights("awq"), "--settings", settings.model_dump_json(),
            )  # fmt: skip
            self.artifacts.complete("quantise", settings.model_dump())

    def examine(self, system: System, url: str) -> None:
        """Ask a served system the test pairs; what is to be published is asked for consistency as well."""
        once = [] if system == "awq" else ["--consistency", "0"]
        for detail in EXAMINED[system]:
            out = self.artifacts.stage("evaluate") / f"{detail}-{system}.json"
            if not out.exists():
                self.stage("evaluate", *self.common, *once, "--url", url, "--detail", detail, "--resume", "--out", out)

    def examined(self, system: System) -> bool:
        folder = self.artifacts.stage("evaluate")
        return all((folder / f"{detail}-{system}.json").exists() for detail in EXAMINED[system])

    def weights(self, system: System) -> Path:
        """The folder that vLLM loads; an adapter comes on top of its base."""
        folders = {"merged": self.artifacts.folder / "merge", "awq": self.artifacts.folder / "quantise"}
        return folders[system] / "weights" if system in folders else self.base

    def served(self, system: System, version: str) -> AbstractContextManager[str]:
        model_id = f"{self.config.name}-{version}-{fingerprint()}"
        adapter = self.artifacts.adapter if system == "adapter" else None
        log = self.artifacts.stage("evaluate") / f"vllm-{system}.log"
        return serve(self.environments.vllm, self.weights(system), model_id, log, adapter)


def launcher(processes: int) -> tuple[str, ...]:
    """The modules that start so many training processes on this machine.

    Without `--multi_gpu`, accelerate would start a single process where there is no GPU, and not say so; with it,
    processes without a GPU train on the CPU together.
    """
    if processes == 1:
        return ("training",)
    counted = ("--num_processes", str(processes), "--num_machines", "1", "--multi_gpu")
    settled = ("--mixed_precision", "no", "--dynamo_backend", "no")
    return ("accelerate.commands.launch", *counted, *settled, "-m", "training")


def run(
    config_file: Path,
    config: Config,
    artifacts: Artifacts,
    *,
    market: Path,
    environments: Environments,
    models: Path,
    target: Target,
    processes: int = 1,
) -> None:
    """Make, examine and publish a model; raises `subprocess.CalledProcessError` where a stage fails."""
    it = Run(config_file, config, artifacts, environments, models)
    it.make(market, processes)
    for system in config.evaluate.beside:
        if not it.examined(system):
            with it.served(system, target.version) as url:
                it.examine(system, url)
    with it.served("awq", target.version) as url:
        it.examine("awq", url)
        it.stage("report", *it.common)
        overrides = [word for name in target.overrides for word in ("--override", name)]
        it.stage(
            "publish", *it.common, "--store", target.store, "--version", target.version, "--url", url,
            "--usd-per-hour", str(target.usd_per_hour), *overrides,
        )  # fmt: skip
