"""A published version -> weights this machine can serve: base, adapter merged in, 4-bit AWQ.

Steps run in the environments that their pins need, each as a process of its own; each is skipped where its
record exists, so a build that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from app.contract.manifest import BuildRecord, Manifest, current, read, sha256, verify
from training.artifacts import write_json
from training.base import prepare
from training.config import Base, Quantise
from training.data.calibration import calibrate
from training.merge import merge

Kind = Literal["awq", "bf16"]

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""glibc keeps freed memory: AutoAWQ otherwise spends half its time giving pages back and faulting them in."""


def build(store: Path, models: Path, quantise_python: Path, kinds: tuple[Kind, ...]) -> Path:
    """Make what is missing of the store's current version under `models`; returns the version's folder there."""
    published = current(store)
    manifest = read(published)
    folder = models / manifest.model_id
    folder.mkdir(parents=True, exist_ok=True)
    if not record_path(folder, "bf16").exists():
        _say(f"{manifest.model_id}: merging the adapter into {manifest.base.name}")
        base = prepare(Base.model_validate(manifest.base.source), models / "bases" / manifest.base.name)
        verify(base, manifest.base.weights)
        merge(base, published / "adapter", folder / "bf16")
        _record(published, manifest, folder, "bf16")
    if "awq" in kinds and not record_path(folder, "awq").exists():
        settings = Quantise.model_validate(manifest.quantisation)
        calibrate(folder / "bf16", settings, folder / "calibration.json")
        _say(f"{manifest.model_id}: quantising to 4 bits" + (", some minutes on two cores" if settings.search else ""))
        _quantise(quantise_python, folder, settings)
        _record(published, manifest, folder, "awq")
    return folder


def record_path(folder: Path, kind: Kind) -> Path:
    return folder / f"build-{kind}.json"


def _quantise(python: Path, folder: Path, settings: Quantise) -> None:
    arguments = ["quantise", "--merged", str(folder / "bf16"), "--calibration", str(folder / "calibration.json")]
    command = [str(python), "-m", "training", *arguments, "--out", str(folder / "awq")]
    subprocess.run(
        [*command, "--settings", json.dumps(settings.model_dump())], check=True, env={**os.environ, **ALLOCATOR}
    )


def _record(published: Path, manifest: Manifest, folder: Path, kind: Kind) -> None:
    weights = {path.name: sha256(path) for path in sorted((folder / kind).iterdir()) if path.is_file()}
    record = BuildRecord(
        model_id=manifest.model_id,
        manifest_sha256=sha256(published / "manifest.json"),
        kind=kind,
        weights=weights,
    )
    write_json(record_path(folder, kind), record.model_dump(mode="json"))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
