"""The weights that this machine serves: those rebuilt here from the model store's current version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from app.contract.fingerprint import fingerprint
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


@dataclass(frozen=True)
class Weights:
    """A folder of weights that vLLM can load, with the records that it is checked against."""

    manifest: Manifest
    kind: WeightKind
    folder: Path
    build: BuildRecord
    build_sha256: str

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def _golden_record(self) -> Path:
        return self.folder.with_name(f"golden-{self.kind}.json")

    def verify(self) -> None:
        """Raise `UnusableModel` for a file with another hash or of no build: vLLM loads every file it finds."""
        verify(self.folder, self.build.weights)
        found = (
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_symlink() or not path.is_dir()
        )
        for unknown in sorted(set(found) - set(self.build.weights)):
            raise UnusableModel(f"{self.folder / unknown} is in no record of the build: remove it")

    def passed_golden_prompts(self) -> bool:
        """Return whether this build has answered the golden prompts as recorded."""
        try:
            return bool(json.loads(self._golden_record.read_text())["build"] == self.build_sha256)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def record_golden_prompts_passed(self) -> None:
        self._golden_record.write_text(json.dumps({"build": self.build_sha256}) + "\n")


def choose(store: Path, models: Path, kind: WeightKind, *, foreign: bool) -> Weights:
    """Return the current version's weights of one kind. Raises `UnusableModel` with the cause and the remedy."""
    published = current(store)
    manifest = read(published)
    if not foreign and manifest.fingerprint != fingerprint():
        raise UnusableModel(
            f"{manifest.model_id} was trained on the contract {manifest.fingerprint}, and this gateway implements "
            f"{fingerprint()}; CONVICTION_ALLOW_FOREIGN_MODEL=1 serves it anyway"
        )
    folder = models / manifest.model_id
    build = build_record(published, manifest, models, kind)
    return Weights(manifest, kind, folder / kind, build, sha256(record_path(folder, kind)))
