"""A rehearsal with some of the layers: every step measured, and the reason of each that fails."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from app.contract.manifest import UnusableModel
from training.artifacts import read_json
from training.pipeline import Run
from training.rehearsal.families import Family
from training.rehearsal.tokenizer import sentencepiece

LAUNCHER = ("training.rehearsal",)
VERSION = "rehearsal"
"""Ends the name of the served model, before the contract's fingerprint."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "label": ("dataset",),
    "finetune": ("base", "label"),
    "qat": ("finetune",),
    "merge": ("finetune", "qat"),
    "quantize": ("merge",),
    "dequantize": ("quantize",),
    "answer": ("quantize", "dequantize"),
}
"""The steps without which a step is not tried."""
HEAVY = ("merge/weights", "quantize/weights", "dequantize/weights", "models")
"""Folders of weights, deleted once the answer is there."""


@dataclass(frozen=True)
class Depth:
    """A run of a base with `layers` layers; `failures` has the reason of each step that did not succeed."""

    run: Run
    family: Family
    layers: int
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, Any]:
        """Seconds and peak memory by step, as the run records them."""
        noted = self.run.artifacts.folder / "stages.json"
        return read_json(noted) if noted.exists() else {}

    def made(self, name: str) -> dict[str, Any]:
        """Return the manifest of a step, empty before the step is complete."""
        done = self.run.artifacts.done(name)
        return self.run.artifacts.manifest(name) if done else {}

    @property
    def steps(self) -> dict[str, Callable[[], None]]:
        common = [*self.run.common, *self.run.models]
        vllm = self.run.plan.environments.vllm

        def base() -> None:
            model, family = sentencepiece(self.family, vllm.parents[1]), json.dumps(asdict(self.family))
            options: list[str | Path] = ["--family", family, "--layers", str(self.layers), "--sentencepiece", model]
            self.run.stage("base", *common, *options, launcher=LAUNCHER)

        answer = partial(self.run.stage, "answer", *common, "--vllm-python", vllm, launcher=LAUNCHER)
        return {"base": base, **self.run.stages(), "answer": answer}

    def rehearse(self) -> Iterator[str]:
        """Run the incomplete steps whose needs are met, and yield each one's name after it; then delete the weights."""
        for name, execute in self.steps.items():
            if self.run.artifacts.done(name):
                continue
            if absent := [need for need in NEEDS.get(name, ()) if need in self.failures]:
                self.failures[name] = f"not tried without {' and '.join(absent)}"
            else:
                self._try(name, execute)
            yield name
        if not self.failures:
            for name in HEAVY:
                shutil.rmtree(self.run.artifacts.folder / name, ignore_errors=True)

    def _try(self, name: str, execute: Callable[[], None]) -> None:
        try:
            execute()
        except subprocess.CalledProcessError as error:
            self.failures[name] = self._reason(error.returncode)
        except (OSError, UnusableModel, ValueError) as error:
            self.failures[name] = str(error)

    def _reason(self, status: int) -> str:
        """Return why a process failed: the last line that it printed, with the indented ones below, or its signal."""
        if status == -signal.SIGKILL:
            return "killed, as the kernel does to the largest process where memory runs out"
        printed = self.run.log.read_text() if self.run.log and self.run.log.exists() else ""
        message: list[str] = []
        for line in filter(str.strip, printed.splitlines()):
            message = [*message, line.strip()] if line[0].isspace() else [line.strip()]
        return re.sub(r"^[\w.]+: ", "", " ".join(message)) or f"ended with status {status}"
