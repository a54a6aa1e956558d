"""The rehearsal of a configuration at two depths, and its page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from app.contract.hardware import Profile
from app.contract.machine import Machine
from training.artifacts import Artifacts, write_text
from training.changes import require_unchanged
from training.config.run import Config
from training.pipeline import Run
from training.plan import Environments, Plan, Target
from training.rehearsal.depth import VERSION, Depth
from training.rehearsal.families import Family
from training.rehearsal.page import page
from training.rehearsal.reduced import changes, notes, reduced, toml

SHALLOW = 1
"""Layers of the first rehearsal; the difference to the second is that of the layers."""
ON_A_CPU = 2
"""Layers of the second rehearsal without a GPU and without a number given."""


@dataclass(frozen=True)
class Setting:
    """What a rehearsal uses of this machine. Without `search`, weights are rounded instead of searching for scales."""

    market: Path
    environments: Environments
    machine: Machine
    profile: Profile
    runs: Path
    search: bool = True


def rehearse(config: Config, family: Family, setting: Setting, layers: int | None) -> str:
    """Rehearse with one layer and with `layers`, by default all on a GPU; return the page.

    The page is written to the folder of the runs after every step. Complete steps are kept. Raises `ChangedConfig` if
    they were made with other settings, `ValueError` for more layers than the base has.
    """
    gpu = setting.profile.device == "gpu"
    deepest = layers or (family.layers if gpu else min(ON_A_CPU, family.layers))
    if deepest > family.layers:
        raise ValueError(f"--layers {deepest}, and {config.base.name} has {family.layers}")
    changed = changes(config, gpu, setting.search)
    depths = [_depth(config, family, setting, changed, number) for number in sorted({SHALLOW, deepest})]
    out, own = setting.runs / f"{config.name}.md", list(notes(config, changed))
    for depth in depths:
        print(f"{config.name}, layers: {depth.layers}; log: {depth.run.log}", file=sys.stderr, flush=True)
        for name in depth.rehearse():
            print(f"   {depth.failures.get(name) or depth.figures[name]}", file=sys.stderr, flush=True)
            write_text(out, page(config, depths, setting.machine, own))
    text = page(config, depths, setting.machine, own)
    write_text(out, text)
    return text


def _depth(config: Config, family: Family, setting: Setting, changed: dict[str, object], layers: int) -> Depth:
    """Return the run of a depth, with its configuration written beside its folder."""
    name = f"{config.name}-{layers}-layers"
    folder = setting.runs / name
    own = reduced(config, changed, name, folder / "source")
    artifacts = Artifacts(folder)
    require_unchanged(own, artifacts, whole=artifacts.done("answer"))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file := folder / "rehearsal.toml", toml(own))
    target = Target(folder / "store", VERSION, Decimal(0))
    plan = Plan(own, artifacts, setting.profile, setting.environments, setting.market, target)
    return Depth(Run(file, plan, folder / "models", folder / "log.txt"), family, layers)
