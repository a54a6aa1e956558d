"""Which weights this machine serves: the store's current version, as it was rebuilt here."""

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
    """A folder that vLLM can load, and what it must be."""

    manifest: Manifest
    kind: WeightKind
    folder: Path
    build: BuildRecord
    build_sha256: str

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def _passed(self) -> Path:
        return self.folder.with_name(f"golden-{self.kind}.json")

    def verify(self) -> None:
        """Raise `UnusableModel` unless every file is the one that was built, and there is no other: vLLM loads what it
        finds."""
        verify(self.folder, self.build.weights)
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir())
        for stranger in sorted(set(found) - set(self.build.weights)):
            raise UnusableModel(f"{self.folder / stranger} is in no record of the build: remove it")

    def passed(self) -> bool:
        """Whether this very build has been asked the golden prompts and answered as recorded."""
        try:
            return bool(json.loads(self._passed.read_text())["build"] == self.build_sha256)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def pass_for_good(self) -> None:
        self._passed.write_text(json.dumps({"build": self.build_sha256}) + "\n")


def choose(store: Path, models: Path, kind: WeightKind, *, foreign: bool) -> Weights:
    """Return the current version's weights of that form. Raises `UnusableModel` with the cause and the remedy."""
    published = current(store)
    manifest = read(published)
    if not foreign and manifest.fingerprint != fingerprint():
        raise UnusableModel(
            f"{manifest.model_id} was trained on the contract {manifest.fingerprint}, and this gateway implements "
            f"{fingerprint()}; CONVICTION_ALLOW_FOREIGN_MODEL=1 serves it all the same"
        )
    folder = models / manifest.model_id
    build = build_record(published, manifest, models, kind)
    return Weights(manifest, kind, folder / kind, build, sha256(record_path(folder, kind)))
