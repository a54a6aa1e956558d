"""What a run is about to do: its stages, its environments and how each system is served; and whether it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from app.contract.hardware import Dtype, Profile, UnsupportedMachine
from training.artifacts import Artifacts
from training.config import Config
from training.precision import require_trainable
from training.vllm_server import with_adapter

System = Literal["awq", "merged", "adapter", "base"]
EXAMINED: dict[System, tuple[str, ...]] = {
    "base": ("brief",),
    "adapter": ("brief",),
    "merged": ("brief", "full"),
    "awq": ("brief", "full"),
}
"""What is asked the test pairs, in which detail."""


class CannotRun(ValueError):
    """The run would fail; the message names each cause and its remedy, in one line."""


@dataclass(frozen=True)
class Environments:
    """The interpreters of the environments, made by `make`."""

    training: Path
    quantize: Path
    vllm: Path


@dataclass(frozen=True)
class Target:
    """Where a run is published, as what, and what its machine costs an hour; checks named in `overrides` may fail."""

    store: Path
    version: str
    usd_per_hour: Decimal
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Served:
    """How vLLM serves a system: the form of its weights (`dequantized`, or the system's name) and its dtype."""

    form: str
    dtype: Dtype
    compiled: bool

    def __str__(self) -> str:
        form = f"{self.form} on its base" if self.form == "adapter" else f"{self.form} weights"
        return f"{form} in {self.dtype}, {'compiled' if self.compiled else 'eager'}"


@dataclass(frozen=True)
class Plan:
    """A run before its first stage."""

    config: Config
    artifacts: Artifacts
    profile: Profile
    environments: Environments
    market: Path
    target: Target

    @property
    def stages(self) -> dict[str, bool]:
        """Each stage's name in order, and whether it is complete."""
        names = ["dataset", "label", "finetune", *(["qat"] if self.config.qat else []), "merge", "quantize"]
        if self.profile.weights == "dequantized":
            names.append("dequantize")
        evaluated = all(map(self.examined, self.systems))
        return {name: self.artifacts.done(name) for name in names} | {
            "evaluate": evaluated, "report": False, "publish": False
        }  # fmt: skip

    @property
    def systems(self) -> tuple[System, ...]:
        """What is evaluated, in order; the 4-bit weights last, since they are served until they are published."""
        return (*self.config.evaluate.beside, "awq")

    def examined(self, system: System) -> bool:
        folder = self.artifacts.folder / "evaluate"
        return all((folder / f"{detail}-{system}.json").exists() for detail in EXAMINED[system])

    def served(self, system: System) -> Served:
        form = self.profile.weights if system == "awq" else system
        how = with_adapter(self.profile) if system == "adapter" else self.profile
        return Served(form, how.dtype, how.compiled)

    def interpreters(self) -> dict[str, Path]:
        """The environments that the stages left to do need, by name."""
        found = {"training": self.environments.training, "vllm": self.environments.vllm}
        if self.config.quantize.search and not self.artifacts.done("quantize"):
            found["quantize"] = self.environments.quantize
        return found

    def require_possible(self) -> None:
        """Raise `CannotRun` naming all that would stop the run."""
        if problems := list(self._problems()):
            raise CannotRun("; ".join(problems))

    def lines(self) -> Iterator[str]:
        """The plan, a fact a line."""
        stages = self.stages
        yield f"{self.config.name}, version {self.target.version}, into {self.target.store}"
        yield f"  machine   {self.profile.machine}"
        yield f"  profile   {self.profile}"
        yield f"  complete  {', '.join(name for name, done in stages.items() if done) or 'nothing'}"
        yield f"  to do     {', '.join(name for name, done in stages.items() if not done)}"
        for name, python in self.interpreters().items():
            yield f"  {name:9} {python}"
        for system in self.systems:
            yield f"  {system:9} {'already evaluated' if self.examined(system) else self.served(system)}"

    def _problems(self) -> Iterator[str]:
        done = self.artifacts.done
        for python in self.interpreters().values():
            if not python.exists():
                yield f"{python} is missing: `make {python.parents[1] / '.complete'}` installs it"
        try:
            require_trainable(self.profile)
        except UnsupportedMachine as error:
            yield str(error)
        if not done("dataset") and not any(self.market.glob("ohlcv*.parquet")):
            yield f"{self.market} holds no ohlcv*.parquet: --market or CONVICTION_MARKET_DIR names the folder of bars"
        if not done("finetune"):
            yield from self._untrainable()
        if (version := self.target.store / self.config.name / self.target.version).exists():
            yield f"{version} exists, and versions are never changed: --version names another"

    def _untrainable(self) -> Iterator[str]:
        settings = self.config.finetune
        if settings.qlora and self.profile.device == "cpu":
            yield "finetune.qlora needs a GPU, and this machine has none"
        if settings.continue_from and not settings.continue_from.exists():
            yield f"finetune.continue_from, {settings.continue_from}, does not exist"
