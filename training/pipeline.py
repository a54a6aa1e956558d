"""The pipeline: every stage in sequence, each in its environment.

    dataset -> label -> finetune (-> qat) -> merge -> quantize (-> dequantize)
            -> calibrate -> evaluate -> report -> publish

Every stage writes its manifest last, so an interrupted run resumes with the first incomplete stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO

from app.contract.fingerprint import fingerprint
from app.contract.hardware import Profile
from app.contract.manifest import verify
from app.stores.parent_death import ending_with_parent
from training.artifacts import Artifacts, read_json, write_json
from training.build import ALLOCATOR
from training.changes import begin
from training.config.run import Config
from training.plan import EVALUATED_DETAILS, CannotRun, Environments, Plan, System, Target, missing
from training.vllm_server import serve


class Run:
    """Executes a plan."""

    def __init__(self, config_file: Path, plan: Plan, models: Path, log: Path | None = None) -> None:
        """`log` receives what the stages print; without it they print as this process does."""
        self.plan, self.config, self.artifacts = plan, plan.config, plan.artifacts
        self.base = models / "bases" / plan.config.base.name
        self.common = ["--config", str(config_file), "--runs", str(plan.artifacts.folder.parent)]
        self.models = ["--models", str(models)]
        self.log = log

    def stage(self, name: str, *arguments: str | Path, launcher: Sequence[str] = ("training",)) -> None:
        """Run a stage in its environment and record its time and peak memory in stages.json.

        Raises `subprocess.CalledProcessError` if it fails, `CannotRun` without its interpreter.
        """
        print(f"== {name}", file=sys.stderr, flush=True)
        searching = name == "quantize" and self.config.quantize.search
        python = self.plan.environments.quantize if searching else self.plan.environments.training
        if problems := list(missing(python)):
            raise CannotRun(*problems)
        command, start = [str(python), "-m", *launcher, name, *map(str, arguments)], time.monotonic()
        log: AbstractContextManager[IO[str] | None] = self.log.open("a") if self.log else nullcontext()
        with log as output:
            child = subprocess.Popen(
                ending_with_parent(*command), env={**os.environ, **ALLOCATOR}, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        noted = self.artifacts.folder / "stages.json"
        stages = read_json(noted) if noted.exists() else {}
        took = {"seconds": round(time.monotonic() - start, 1), "peak_gib": round(usage.ru_maxrss / 2**20, 2)}
        write_json(noted, {**stages, name: took})

    def make(self, processes: int) -> None:
        """Run the incomplete stages from market data to servable weights."""
        for name, execute in self.stages(processes).items():
            if not self.artifacts.done(name):
                execute()

    def stages(self, processes: int = 1) -> dict[str, Callable[[], None]]:
        """Return what executes each stage from market data to servable weights, in order."""
        tuned, trained = partial(self.stage, launcher=launcher(processes)), [*self.common, *self.models]
        return {
            "dataset": partial(self.stage, "dataset", *self.common, "--market", self.plan.market),
            "label": partial(self.stage, "label", *self.common),
            "finetune": partial(tuned, "finetune", *trained),
            **({"qat": partial(tuned, "qat", *trained)} if self.config.qat else {}),
            "merge": partial(self.stage, "merge", *trained),
            "quantize": self._quantize,
            **({"dequantize": self._dequantize} if self.plan.profile.weights == "dequantized" else {}),
        }

    def _quantize(self) -> None:
        merged, settings = self.artifacts.stage("merge"), self.config.quantize
        verify(merged / "weights", self.artifacts.manifest("merge")["weights"])
        calibration: list[str | Path] = ["--calibration", merged / "calibration.json"] if settings.search else []
        begin(self.config, self.artifacts, "quantize")
        out = self.artifacts.folder / "quantize" / "weights"
        self.stage(
            "quantize", "--merged", merged / "weights", *calibration, "--out", out,
            "--settings", settings.model_dump_json(),
        )  # fmt: skip
        self.artifacts.complete("quantize", settings.model_dump())

    def _dequantize(self) -> None:
        """Dequantize the weights for a machine without a 4-bit kernel."""
        begin(self.config, self.artifacts, "dequantize")
        quantized, out = (self.artifacts.folder / name / "weights" for name in ("quantize", "dequantize"))
        self.stage("dequantize", "--quantized", quantized, "--out", out)
        self.artifacts.complete("dequantize", {"dtype": "float32"})

    def calibrate(self, url: str) -> None:
        """Fit the calibration of the served 4-bit weights on the validation split."""
        folder, how = self.artifacts.stage("calibrate"), self.plan.served("awq")
        served = ["--form", how.form, "--dtype", how.dtype, "--consistency", "0", "--split", "validation"]
        details = [name for name in EVALUATED_DETAILS["awq"] if getattr(self.config.dataset.validation, name)]
        missing = [detail for detail in details if not self.plan.has_validation(detail)]
        for detail in missing:
            out = folder / f"{detail}-awq.json"
            self.stage("evaluate", *self.common, *served, "--url", url, "--detail", detail, "--resume", "--out", out)
        if missing or not self.artifacts.done("calibrate"):
            self.stage("calibrate", *self.common)

    def evaluate(self, system: System, url: str) -> None:
        """Evaluate a served system; only the published weights are calibrated and checked for consistency."""
        once = ["--calibrated"] if system == "awq" else ["--consistency", "0"]
        how = self.plan.served(system)
        served = ["--form", how.form, "--dtype", how.dtype]
        for detail in EVALUATED_DETAILS[system]:
            out = self.artifacts.stage("evaluate") / f"{detail}-{system}.json"
            if not self.plan.has_evaluation(system, detail):
                options: list[str | Path] = ["--url", url, "--detail", detail, "--resume", "--out", out]
                self.stage("evaluate", *self.common, *once, *served, *options)

    def weights(self, system: System) -> Path:
        """Return the folder that vLLM loads; an adapter is loaded on top of its base."""
        forms = {"merged": "merge", "awq": "quantize", "dequantized": "dequantize"}
        stage = forms.get(self.plan.served(system).form)
        return self.artifacts.folder / stage / "weights" if stage else self.base

    def served(self, system: System) -> AbstractContextManager[str]:
        model_id = f"{self.config.name}-{self.plan.target.version}-{fingerprint()}"
        adapter = self.artifacts.adapter if system == "adapter" else None
        log = self.artifacts.stage("evaluate") / f"vllm-{system}.log"
        return serve(self.plan.environments.vllm, self.weights(system), model_id, log, self.plan.profile, adapter)


def launcher(processes: int) -> tuple[str, ...]:
    """Return the modules that start this number of training processes.

    `--multi_gpu` is always set: without it, accelerate silently starts a single process on a machine without a GPU.
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
    """Print the plan, then train, evaluate and publish a model.

    Raises `CannotRun` before the first stage, `subprocess.CalledProcessError` if a stage fails.
    """
    plan = Plan(config, artifacts, profile, environments, market, target)
    plan.require_runnable()
    print(*plan.lines(), sep="\n", file=sys.stderr, flush=True)
    it = Run(config_file, plan, models)
    it.make(processes)
    for system in config.evaluate.beside:
        if not plan.is_evaluated(system):
            with it.served(system) as url:
                it.evaluate(system, url)
    with it.served("awq") as url:
        it.calibrate(url)
        it.evaluate("awq", url)
        it.stage("report", *it.common)
        overrides = [word for name in target.overrides for word in ("--override", name)]
        it.stage(
            "publish", *it.common, "--store", target.store, "--version", target.version, "--url", url,
            "--usd-per-hour", str(target.usd_per_hour), *overrides,
        )  # fmt: skip
