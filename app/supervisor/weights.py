"""Which weights this machine serves: the store's current version, as it was rebuilt here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from app.contract.fingerprint import fingerprint
from app.contract.manifest import (
    MANIFEST,
    BuildRecord,
    Manifest,
    UnusableModel,
    current,
    read,
    sha256,
    verify,
)

Kind = Literal["awq", "bf16"]
REMEDY = "`make model` builds it"


@dataclass(frozen=True)
class Weights:
    """A folder that vLLM can load, and what it must be."""

    manifest: Manifest
    kind: Kind
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


def can_serve_4_bit(cpu: Path = Path("/proc/cpuinfo")) -> bool:
    """vLLM's 4-bit kernel for CPUs is written in AVX-512; without it the first request ends the server."""
    try:
        return "avx512f" in cpu.read_text().split()
    except OSError:
        return False


def choose(store: Path, models: Path, kind: Kind, *, foreign: bool) -> Weights:
    """The current version's build of that kind. Raises `UnusableModel` saying what is wrong and what helps."""
    published = current(store)
    manifest = read(published)
    if not foreign and manifest.fingerprint != fingerprint():
        raise UnusableModel(
            f"{manifest.model_id} was taught the contract {manifest.fingerprint}, this gateway speaks "
            f"{fingerprint()}; CONVICTION_ALLOW_FOREIGN_MODEL=1 serves it all the same"
        )
    folder = models / manifest.model_id
    path = folder / f"build-{kind}.json"
    try:
        build = BuildRecord.model_validate_json(path.read_bytes())
    except OSError:
        raise UnusableModel(f"{manifest.model_id} has no {kind} build in {models}: {REMEDY}") from None
    except ValidationError:
        raise UnusableModel(f"{path} is no record of a build; without it, {REMEDY}") from None
    if build.manifest_sha256 != sha256(published / MANIFEST):
        raise UnusableModel(f"{folder} was built from another manifest; without it, {REMEDY}")
    return Weights(manifest, kind, folder / kind, build, sha256(path))
