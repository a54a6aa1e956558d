"""The configuration of a rehearsal: the run's with few pairs and steps, and without what the machine does not have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.config.dataset import SPLITS
from training.config.run import Config

TRAIN, OTHER = {"brief": 12, "full": 6}, {"brief": 2, "full": 2}
"""Pairs of the training split, and of the others."""
SAMPLES = 4
"""Calibration samples for AWQ's search."""
NEVER = 10**6


def changes(config: Config, gpu: bool, search: bool) -> dict[str, Any]:
    """Return the settings that a rehearsal changes, by dotted name; None omits one.

    What decides the memory of a step stays: layers with an adapter, rank, batch, length, packing and checkpointing.
    """
    found: dict[str, Any] = {}
    for split in SPLITS:
        for detail, few in (TRAIN if split == "train" else OTHER).items():
            found[f"dataset.{split}.{detail}"] = min(few, getattr(getattr(config.dataset, split), detail))
    few_steps = {"epochs": 1, "accumulate": 1, "patience": None, "pairs": None, "validate": None}
    few_steps |= {"continue_from": None, "evaluate_every": 2, "save_every": NEVER}
    for stage in ("finetune", *(["qat"] if config.qat else [])):
        found |= {f"{stage}.{name}": value for name, value in few_steps.items()}
    if not gpu:
        found["finetune.qlora"] = False
    found["quantize.samples"] = min(SAMPLES, config.quantize.samples)
    if not search:
        found["quantize.search"] = False
    document = _document(config)
    return {name: value for name, value in found.items() if _get(document, name) != value}


def notes(config: Config, changed: Mapping[str, Any]) -> Iterator[str]:
    """Yield each changed setting with the configuration's own value."""
    document = _document(config)
    for name, value in changed.items():
        yield f"{name} = {json.dumps(value)}, configured {json.dumps(_get(document, name))}"


def reduced(config: Config, changed: Mapping[str, Any], name: str, source: Path) -> Config:
    """Return the configuration with the changes, under another name, with the base in the folder `source`."""
    document = _document(config)
    for dotted, value in changed.items():
        *sections, last = dotted.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[last] = value
    base = {"name": config.base.name, "license": config.base.license, "source": "hub", "repo": str(source)}
    return Config.model_validate({**document, "name": name, "base": base})


def toml(config: Config) -> str:
    return "\n".join(_lines(config.model_dump(mode="json", by_alias=True, exclude_none=True))) + "\n"


def _document(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True)


def _get(document: Mapping[str, Any], dotted: str) -> Any:
    value: Any = document
    for name in dotted.split("."):
        value = value[name]
    return value


def _lines(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a section's settings, then its sections; JSON's strings, numbers, booleans and lists are TOML's too."""
    for name, value in section.items():
        if not isinstance(value, Mapping):
            yield f"{name} = {json.dumps(value)}"
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield f"[{prefix}{name}]"
            yield from _lines(value, f"{prefix}{name}.")
