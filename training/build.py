"""Weights of a published version for this machine: merged, 4-bit AWQ, and float32 dequantized.

Each form has a build record, written last; forms with a record are kept, so an interrupted build resumes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from app.contract.hardware import WeightFormat
from app.contract.manifest import (
    BuildRecord,
    Manifest,
    UnusableModel,
    WeightKind,
    build_record,
    current,
    read,
    record_path,
    sha256,
    verify,
)
from training.artifacts import write_json
from training.config.base import Base
from training.config.quantize import Quantize

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""Keep freed memory in the process: AutoAWQ otherwise spends half its time in page faults."""


def build(store: Path, models: Path, quantize_python: Path, wanted: WeightFormat) -> Path:
    """Build the missing forms of the store's current version under `models`; return its folder there."""
    published = current(store)
    version = _Version(published, read(published), models)
    if version.built(wanted):
        return version.folder
    if not version.built("awq"):
        if not version.built("merged"):
            version.merge()
        version.quantize(quantize_python)
    if wanted == "dequantized":
        version.dequantize()
    return version.folder


class _Version:
    """A published version and its folder of weights."""

    def __init__(self, published: Path, manifest: Manifest, models: Path) -> None:
        self._published, self._manifest, self._models = published, manifest, models
        self.folder = models / manifest.model_id

    def built(self, kind: WeightKind) -> bool:
        """Return whether this form was built from the current manifest."""
        try:
            build_record(self._published, self._manifest, self._models, kind)
        except UnusableModel:
            return False
        return True

    def merge(self) -> None:
        from training.finetune.base import prepare
        from training.finetune.merge import merge

        name = self._manifest.base.name
        _report(f"{self._manifest.model_id}: merging the adapter into {name}")
        base = prepare(Base.model_validate(self._manifest.base.source), self._models / "bases" / name)
        verify(base, self._manifest.base.weights)
        merge(base, self._published / "adapter", self.folder / "merged")
        self._record("merged")

    def quantize(self, quantize_python: Path) -> None:
        settings = Quantize.model_validate(self._manifest.quantisation)
        _report(f"{self._manifest.model_id}: quantizing to 4 bits")
        if settings.search:
            self._search(quantize_python, settings)
        else:
            from training.quantize.awq import quantize_folder

            quantize_folder(self.folder / "merged", settings, self.folder / "awq")
        self._record("awq")

    def _search(self, python: Path, settings: Quantize) -> None:
        """Quantize with AutoAWQ's search for scales in its own environment."""
        if not python.exists():
            raise UnusableModel(
                f"{self._manifest.model_id} was quantized by AutoAWQ's search, which needs {python}: "
                f"`make {python.parents[1] / '.complete'}` installs it"
            )
        from training.finetune.calibration import calibrate

        calibration = self.folder / "calibration.json"
        calibrate(self.folder / "merged", settings, calibration)
        arguments = ["--merged", str(self.folder / "merged"), "--calibration", str(calibration)]
        arguments += ["--out", str(self.folder / "awq"), "--settings", json.dumps(settings.model_dump())]
        command = [str(python), "-m", "training", "quantize", *arguments]
        subprocess.run(command, check=True, env={**os.environ, **ALLOCATOR})

    def dequantize(self) -> None:
        from training.quantize.awq import dequantize_folder

        _report(f"{self._manifest.model_id}: dequantizing the 4-bit weights to float32")
        dequantize_folder(self.folder / "awq", self.folder / "dequantized")
        self._record("dequantized")

    def _record(self, kind: WeightKind) -> None:
        folder = self.folder / kind
        record = BuildRecord(
            model_id=self._manifest.model_id,
            manifest_sha256=sha256(self._published / "manifest.json"),
            kind=kind,
            weights={path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()},
        )
        write_json(record_path(self.folder, kind), record.model_dump(mode="json"))


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
