"""The plan of a run: stages, environments, serving modes, and checks before the first stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from app.contract.hardware import Dtype, Profile, UnsupportedMachine
from training.artifacts import Artifacts, read_json
from training.changes import ChangedConfig, require_unchanged
from training.config.run import Config
from training.dataset.lineage import overlaps
from training.precision import require_trainable
from training.vllm_server import with_adapter

System = Literal["awq", "merged", "adapter", "base"]
EVALUATED_DETAILS: dict[System, tuple[str, ...]] = {
    "base": ("brief",),
    "adapter": ("brief",),
    "merged": ("brief", "full"),
    "awq": ("brief", "full"),
}
"""Details in which each system is evaluated."""


class CannotRun(ValueError):
    """The run would fail; the one-line message names every cause and remedy."""


@dataclass(frozen=True)
class Environments:
    """Python interpreters of the environments that `make` creates."""

    training: Path
    quantize: Path
    vllm: Path


@dataclass(frozen=True)
class Target:
    """Publication target, and the serving machine's hourly price; failed checks named in `overrides` are accepted."""

    store: Path
    version: str
    usd_per_hour: Decimal
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class ServingMode:
    """How vLLM serves a system: form of the weights (`dequantized`, or the system's name) and dtype."""

    form: str
    dtype: Dtype
    compiled: bool

    def __str__(self) -> str:
        form = f"{self.form} on its base" if self.form == "adapter" else f"{self.form} weights"
        return f"{form} in {self.dtype}, {'compiled' if self.compiled else 'eager'}"


@dataclass(frozen=True)
class Plan:
    """The plan of a run."""

    config: Config
    artifacts: Artifacts
    profile: Profile
    environments: Environments
    market: Path
    target: Target

    @property
    def stages(self) -> dict[str, bool]:
        """Return whether each stage is complete, in order."""
        names = ["dataset", "label", "finetune", *(["qat"] if self.config.qat else []), "merge", "quantize"]
        if self.profile.weights == "dequantized":
            names.append("dequantize")
        evaluated = all(map(self.is_evaluated, self.systems))
        return {name: self.artifacts.done(name) for name in (*names, "calibrate")} | {
            "evaluate": evaluated, "report": False, "publish": False
        }  # fmt: skip

    @property
    def systems(self) -> tuple[System, ...]:
        """Systems to evaluate; the 4-bit weights come last and stay served for publication."""
        return (*self.config.evaluate.beside, "awq")

    def is_evaluated(self, system: System) -> bool:
        return all(self.has_evaluation(system, detail) for detail in EVALUATED_DETAILS[system])

    def has_evaluation(self, system: System, detail: str) -> bool:
        """Return whether a system was evaluated as it would be served now: form, dtype, and the calibration."""
        path = self.artifacts.folder / "evaluate" / f"{detail}-{system}.json"
        calibration = self._calibrations.get(detail) if system == "awq" else None
        return self._is_of_these(path, calibration, system)

    def has_validation(self, detail: str) -> bool:
        """Return whether the weights to be served were evaluated on the validation split."""
        return self._is_of_these(self.artifacts.folder / "calibrate" / f"{detail}-awq.json", None, "awq")

    def _is_of_these(self, path: Path, calibration: Any, system: System) -> bool:
        found, how = read_json(path) if path.exists() else {}, self.served(system)
        served = {"form": how.form, "dtype": how.dtype}
        return found.get("served") == served and found.get("calibrated") == calibration

    @property
    def _calibrations(self) -> dict[str, Any]:
        done = self.artifacts.done("calibrate")
        found = self.artifacts.manifest("calibrate") if done else {}
        return {detail: one["calibration"] for detail, one in found.items()}

    def served(self, system: System) -> ServingMode:
        form = self.profile.weights if system == "awq" else system
        how = with_adapter(self.profile) if system == "adapter" else self.profile
        return ServingMode(form, how.dtype, how.compiled)

    def interpreters(self) -> dict[str, Path]:
        """Return the interpreters that the remaining stages need, by environment."""
        found = {"training": self.environments.training, "vllm": self.environments.vllm}
        if self.config.quantize.search and not self.artifacts.done("quantize"):
            found["quantize"] = self.environments.quantize
        return found

    def require_runnable(self) -> None:
        """Raise `CannotRun` naming every reason why the run would fail."""
        if problems := list(self._problems()):
            raise CannotRun("; ".join(problems))

    def lines(self) -> Iterator[str]:
        """Yield the plan as lines."""
        stages = self.stages
        yield f"{self.config.name}, version {self.target.version}, into {self.target.store}"
        yield f"  machine   {self.profile.machine}"
        yield f"  profile   {self.profile}"
        yield f"  complete  {', '.join(name for name, done in stages.items() if done) or 'nothing'}"
        yield f"  to do     {', '.join(name for name, done in stages.items() if not done)}"
        for name, python in self.interpreters().items():
            yield f"  {name:9} {python}"
        for system in self.systems:
            yield f"  {system:9} {'already evaluated' if self.is_evaluated(system) else self.served(system)}"

    def _problems(self) -> Iterator[str]:
        done = self.artifacts.done
        try:
            require_unchanged(self.config, self.artifacts)
        except ChangedConfig as error:
            yield str(error)
        yield from missing(*self.interpreters().values())
        try:
            require_trainable(self.profile)
        except UnsupportedMachine as error:
            yield str(error)
        if not done("dataset") and not any(self.market.glob("ohlcv*.parquet")):
            yield f"{self.market} has no ohlcv*.parquet: set --market or CONVICTION_MARKET_DIR to the folder of bars"
        if not done("finetune"):
            yield from self._untrainable()
        yield from self._too_few_test_pairs()
        if (version := self.target.store / self.config.name / self.target.version).exists():
            yield f"{version} exists, and versions are immutable: choose another --version"

    def _too_few_test_pairs(self) -> Iterator[str]:
        """Yield details whose test split is smaller than publication requires."""
        test, least = self.config.dataset.test, self.config.publish.min_pairs
        for detail in EVALUATED_DETAILS["awq"]:
            pairs, wanted, check = getattr(test, detail), getattr(least, detail), f"min_pairs.{detail}"
            if pairs < wanted and check not in self.target.overrides:
                yield f"dataset.test.{detail} is {pairs}, and publish.{check} {wanted}: the gate would refuse it"

    def _untrainable(self) -> Iterator[str]:
        settings = self.config.finetune
        if settings.qlora and self.profile.device == "cpu":
            yield "finetune.qlora needs a GPU, and this machine has none"
        if settings.continue_from and not settings.continue_from.exists():
            yield f"finetune.continue_from, {settings.continue_from}, does not exist"
        else:
            yield from overlaps(self.config)


def missing(*pythons: Path) -> Iterator[str]:
    """Yield a sentence for each interpreter that does not exist, with the command that installs its environment."""
    for python in pythons:
        if not python.exists():
            yield f"{python} is missing: `make {python.parents[1] / '.complete'}` installs it"
