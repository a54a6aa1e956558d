"""Small programs to supervise, and a published model with a build, as files of a few bytes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.manifest import BaseRecord, BuildRecord, Golden, Manifest, WeightKind
from app.supervisor.process import Program


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Program]:
    """Return a factory of programs from lines of Python; the log is in the test's folder."""

    def make(source: str) -> Program:
        return Program("toy", (sys.executable, "-c", source), dict(os.environ), tmp_path / "toy.log")

    return make


class Store:
    """A model store and a folder of builds; tests may corrupt any of it."""

    def __init__(self, folder: Path, made_for: str) -> None:
        self.store, self.models = folder / "model_store", folder / "models"
        self.published = self.store / "toy" / "1"
        (self.published / "adapter").mkdir(parents=True)
        (self.published / "adapter" / "adapter_model.safetensors").write_bytes(b"adapter")
        self.manifest = Manifest(
            name="toy",
            version="1",
            created=datetime(2026, 11, 23, tzinfo=UTC),
            fingerprint=made_for,
            prompt_version="1",
            teacher="rules",
            base=BaseRecord(name="base", license="apache-2.0", weights={}, source={}),
            adapter={"adapter_model.safetensors": sha256(b"adapter").hexdigest()},
            data={},
            quantisation={},
            evaluation={},
            capacity=None,
            golden=[Golden(ticker="SNPS", metrics=EXAMPLE.document(), action="buy")],
        )
        self.write_manifest()
        (self.store / "current").write_text("toy/1\n")
        self.folder = self.models / self.manifest.model_id
        self.write_build()

    def write_manifest(self) -> None:
        document = self.manifest.model_dump(mode="json")
        (self.published / "manifest.json").write_text(json.dumps(document))

    def write_build(self, kind: WeightKind = "awq") -> None:
        (self.folder / kind).mkdir(parents=True, exist_ok=True)
        (self.folder / kind / "model.safetensors").write_bytes(b"weights")
        record = BuildRecord(
            model_id=self.manifest.model_id,
            manifest_sha256=sha256((self.published / "manifest.json").read_bytes()).hexdigest(),
            kind=kind,
            weights={"model.safetensors": sha256(b"weights").hexdigest()},
        )
        (self.folder / f"build-{kind}.json").write_text(record.model_dump_json())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, fingerprint())


@pytest.fixture
def foreign_store(tmp_path: Path) -> Store:
    """A store whose model was trained on another contract."""
    return Store(tmp_path, "0123456789ab")
