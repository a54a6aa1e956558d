"""The whole run, a stage after the other, each in the environment whose pins it needs.

    dataset -> label -> finetune (-> qat) -> merge -> quantize (-> dequantize) -> evaluate -> report -> publish

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
from pathlib import Path

from app.contract.fingerprint import fingerprint
from app.contract.hardware import Profile
from app.contract.manifest import verify
from training.artifacts import Artifacts, write_json
from training.build import ALLOCATOR
from training.config import Config
from training.plan import EXAMINED, Environments, Plan, System, Target
from training.vllm_server import serve


class Run:
    """A plan's steps, each a method."""

    def __init__(self, config_file: Path, plan: Plan, models: Path) -> None:
        self.plan, self.config, self.artifacts = plan, plan.config, plan.artifacts
        self.base = models / "bases" / plan.config.base.name
        self.common = ["--config", str(config_file), "--runs", str(plan.artifacts.folder.parent)]
        self.models = ["--models", str(models)]

    def stage(self, name: str, *arguments: str | Path, launcher: Sequence[str] = ("training",)) -> None:
        """Run a stage in its environment, and note in stages.json the time and memory it took.

        Raises `subprocess.CalledProcessError` where it fails.
        """
        print(f"== {name}", file=sys.stderr, flush=True)
        searching = name == "quantize" and self.config.quantize.search
        python = self.plan.environments.quantize if searching else self.plan.environments.training
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

    def make(self, processes: int) -> None:
        """Bars to the weights that are served; stages that are complete are passed over."""
        done = self.artifacts.done
        if not done("dataset"):
            self.stage("dataset", *self.common, "--market", self.plan.market)
        if not done("label"):
            self.stage("label", *self.common)
        if not done("finetune"):
            self.stage("finetune", *self.common, *self.models, launcher=launcher(processes))
        if self.config.qat and not done("qat"):
            self.stage("qat", *self.common, *self.models, launcher=launcher(processes))
        if not done("merge"):
            self.stage("merge", *self.common, *self.models)
        if not done("quantize"):
            self._quantize()
        if self.plan.profile.weights == "dequantized" and not done("dequantize"):
            self._dequantize()

    def _quantize(self) -> None:
        merged, settings = self.artifacts.stage("merge"), self.config.quantize
        verify(merged / "weights", self.artifacts.manifest("merge")["weights"])
        calibration: list[str | Path] = ["--calibration", merged / "calibration.json"] if settings.search else []
        out = self.artifacts.folder / "quantize" / "weights"
        self.stage(
            "quantize", "--merged", merged / "weights", *calibration, "--out", out,
            "--settings", settings.model_dump_json(),
        )  # fmt: skip
        self.artifacts.complete("quantize", settings.model_dump())

    def _dequantize(self) -> None:
        """Multiply the 4-bit weights out, for a machine without a kernel for them."""
        quantized, out = (self.artifacts.folder / name / "weights" for name in ("quantize", "dequantize"))
        self.stage("dequantize", "--quantized", quantized, "--out", out)
        self.artifacts.complete("dequantize", {"dtype": "float32"})

    def examine(self, system: System, url: str) -> None:
        """Ask a served system the test pairs; what is to be published is asked for consistency as well."""
        once = [] if system == "awq" else ["--consistency", "0"]
        how = self.plan.served(system)
        served = ["--form", how.form, "--dtype", how.dtype]
        for detail in EXAMINED[system]:
            out = self.artifacts.stage("evaluate") / f"{detail}-{system}.json"
            if not out.exists():
                asked: list[str | Path] = ["--url", url, "--detail", detail, "--resume", "--out", out]
                self.stage("evaluate", *self.common, *once, *served, *asked)

    def weights(self, system: System) -> Path:
        """The folder that vLLM loads; an adapter comes on top of its base."""
        forms = {"merged": "merge", "awq": "quantize", "dequantized": "dequantize"}
        stage = forms.get(self.plan.served(system).form)
        return self.artifacts.folder / stage / "weights" if stage else self.base

    def served(self, system: System) -> AbstractContextManager[str]:
        model_id = f"{self.config.name}-{self.plan.target.version}-{fingerprint()}"
        adapter = self.artifacts.adapter if system == "adapter" else None
        log = self.artifacts.stage("evaluate") / f"vllm-{system}.log"
        return serve(self.plan.environments.vllm, self.weights(system), model_id, log, self.plan.profile, adapter)


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
    profile: Profile,
    processes: int = 1,
) -> None:
    """Print the plan, then make, examine and publish a model.

    Raises `CannotRun` before the first stage, `subprocess.CalledProcessError` where a stage fails.
    """
    plan = Plan(config, artifacts, profile, environments, market, target)
    plan.require_possible()
    print(*plan.lines(), sep="\n", file=sys.stderr, flush=True)
    it = Run(config_file, plan, models)
    it.make(processes)
    for system in config.evaluate.beside:
        if not plan.examined(system):
            with it.served(system) as url:
                it.examine(system, url)
    with it.served("awq") as url:
        it.examine("awq", url)
        it.stage("report", *it.common)
        overrides = [word for name in target.overrides for word in ("--override", name)]
        it.stage(
            "publish", *it.common, "--store", target.store, "--version", target.version, "--url", url,
            "--usd-per-hour", str(target.usd_per_hour), *overrides,
        )  # fmt: skip
