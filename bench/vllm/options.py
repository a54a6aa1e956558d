"""The options that are compared, each a change to how the model is served."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.contract import serving
from app.contract.hardware import Profile, UnsupportedMachine, choose
from app.contract.machine import Machine
from app.contract.manifest import UnusableModel
from app.supervisor.weights import choose as choose_weights

AS_SERVED = "as served"


@dataclass(frozen=True)
class Option:
    """A change: to the profile, to vLLM's environment, or to both. None in `environment` removes a variable."""

    name: str
    profile: Callable[[Profile], Profile] = lambda profile: profile
    environment: Mapping[str, str | None] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Of the choice by hardware: CONVICTION_DTYPE and CONVICTION_WEIGHTS."""


def _several_processes(profile: Profile) -> Profile:
    return replace(profile, threads=serving.SINGLE_PROCESS_CORES + 1)


OPTIONS = (
    Option(AS_SERVED),
    Option("eager", lambda profile: replace(profile, compiled=False)),
    Option("several processes", _several_processes),
    Option("vLLM's default: one core reserved", _several_processes, {"VLLM_CPU_NUM_OF_RESERVED_CPU": None}),
    Option("no preloaded libraries", environment={"LD_PRELOAD": None}),
    Option("no AOT compilation", environment={"VLLM_USE_AOT_COMPILE": "0"}),
    Option("AOT without the plugin", environment={"VLLM_PLUGINS": ""}),
    Option("4-bit in bfloat16", overrides={"CONVICTION_DTYPE": "bfloat16", "CONVICTION_WEIGHTS": "awq"}),
    Option("float32", overrides={"CONVICTION_DTYPE": "float32", "CONVICTION_WEIGHTS": "dequantized"}),
)


@dataclass(frozen=True)
class Setup:
    """An option on this machine: what to start, and with which variables."""

    name: str
    profile: Profile
    weights: Path
    model_id: str
    environment: Mapping[str, str | None]


def setups(
    machine: Machine, overrides: Mapping[str, str], store: Path, models: Path, only: Collection[str] = ()
) -> Iterator[Setup | str]:
    """Yield each option that can run here, or one line with the reason; with `only`, the named options."""
    served = choose(machine, overrides)
    for option in (option for option in OPTIONS if not only or option.name in only):
        try:
            profile = option.profile(choose(machine, {**overrides, **option.overrides}))
            weights = choose_weights(store, models, profile.weights, foreign=True)
        except (UnsupportedMachine, UnusableModel) as error:
            yield f"{option.name}: left out: {error}"
            continue
        if option.overrides and (profile.dtype, profile.weights) == (served.dtype, served.weights):
            yield f"{option.name}: left out: it is what is served here"
            continue
        yield Setup(option.name, profile, weights.folder, weights.model_id, option.environment)
