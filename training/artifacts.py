"""The folder of a run: one folder per stage, complete when its manifest exists, which is written last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

MANIFEST = "manifest.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")
"""Tokenizer files that are copied next to weights."""


class Artifacts:
    """The folders and manifests of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(self, name: str) -> Path:
        """Return the folder of a stage, creating it if it is missing."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def tuned(self) -> Literal["finetune", "qat"]:
        """The last stage that trained the adapter."""
        return "qat" if self.done("qat") else "finetune"

    @property
    def adapter(self) -> Path:
        return self.folder / self.tuned / "adapter"

    def done(self, name: str) -> bool:
        return (self.folder / name / MANIFEST).exists()

    def complete(self, name: str, manifest: Mapping[str, Any]) -> None:
        write_json(self.stage(name) / MANIFEST, manifest)

    def manifest(self, name: str) -> dict[str, Any]:
        """Return the manifest of a stage. Raises `FileNotFoundError` naming the stage if it is not complete."""
        path = self.folder / name / MANIFEST
        if not path.exists():
            raise FileNotFoundError(f"stage {name} is not complete in {self.folder}: run it first")
        return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def faults(error: ValidationError, whole: str = "file") -> list[str]:
    """Return each fault of a document as "field: message"; `whole` names the field of a fault of all of it."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg']}" for fault in found]


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document atomically."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as lines:
        yield from map(json.loads, lines)


def write_text(path: Path, text: str) -> None:
    """Write text atomically and fsync it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically and fsync them."""
    temporary = path.with_suffix(path.suffix + ".part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
