"""Detection of settings that changed since a stage of a run began, which resuming would mix with the new ones.

Each stage's folder has a record of the settings that affect the stage or an earlier one. A stage counts as begun once
it is complete or has checkpoints; whatever else an interrupted stage leaves is made from the start again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.artifacts import Artifacts, read_json, write_json
from training.config.run import Config

RECORD = "config.json"
MADE_BY: dict[str, Mapping[str, Sequence[str]]] = {
    "dataset": {"dataset": ()},
    "label": {"teacher": ()},
    "finetune": {"base": (), "finetune": ()},
    "qat": {"qat": (), "quantize": ("group_size", "keep")},
    "merge": {"quantize": ("search", "samples", "max_length")},
    "quantize": {"quantize": ()},
    "dequantize": {},
}
"""The stages in order, with the sections of the configuration and their settings, or all, that affect each."""
WITHOUT_EFFECT = ("max_usd", "concurrency", "batch_requests", "tries", "max_failed", "save_every", "usd_per_hour")
"""Settings of those sections that affect no stage's result: limits, and how the work is done."""
AFTER = ("calibrate", "evaluate", "report")
"""Folders that are made from the stages' results."""


class ChangedConfig(ValueError):
    """A stage was begun with other settings; the message names them."""


def begin(config: Config, artifacts: Artifacts, stage: str) -> None:
    """Record the settings of a stage that is about to run.

    Raises `ChangedConfig` if it, or an earlier stage with a record, was begun with other settings.
    """
    stages = list(MADE_BY)
    earlier = [name for name in stages[: stages.index(stage)] if _record(artifacts, name).exists()]
    require_unchanged(config, artifacts, [*earlier, stage])
    first_process = os.environ.get("RANK", "0") == "0"  # of those that accelerate starts
    if first_process and not _is_begun(artifacts, stage):
        write_json(artifacts.stage(stage) / RECORD, settings(config, stage))


def require_unchanged(
    config: Config, artifacts: Artifacts, stages: Sequence[str] = tuple(MADE_BY), whole: bool = False
) -> None:
    """Raise `ChangedConfig` naming all settings in which stages differ from the configuration, and what to do.

    `whole`: the run's folder has to be deleted, since earlier stages' weights are not there to continue from.
    """
    found: dict[str, str] = {}
    affected = []
    for stage in (stage for stage in stages if _is_begun(artifacts, stage)):
        path = _record(artifacts, stage)
        if path.exists():
            differences = dict(_differences(read_json(path), settings(config, stage)))
        else:
            differences = {stage: f"has no record of the settings of stage {stage}"}
        found |= differences
        affected += [stage] if differences else []
    if affected:
        after = [name for name in AFTER if (artifacts.folder / name).exists()]
        parts = [artifacts.folder] if whole else [artifacts.folder / name for name in (*affected, *after)]
        folders = ", ".join(map(str, parts))
        named = ", and ".join(found.values())
        raise ChangedConfig(f"{artifacts.folder} {named}: use another --runs, or delete {folders}")


def settings(config: Config, stage: str) -> dict[str, Any]:
    """Return the settings that affect a stage or an earlier one, as JSON."""
    document = config.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, sections in MADE_BY.items():
        for section, names in sections.items():
            whole = document[section]
            own = {key: whole[key] for key in names or whole if key not in WITHOUT_EFFECT} if whole else {}
            found[section] = {**found.get(section, {}), **own} if whole else None
        if name == stage:
            break
    return found


def _record(artifacts: Artifacts, stage: str) -> Path:
    return artifacts.folder / stage / RECORD


def _is_begun(artifacts: Artifacts, stage: str) -> bool:
    return artifacts.done(stage) or any((artifacts.folder / stage / "checkpoints").glob("checkpoint-*"))


def _differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each setting that differs with a description of both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield name, f"was begun with {name} = {json.dumps(before)}, the config says {json.dumps(now)}"
