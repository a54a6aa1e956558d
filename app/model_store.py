"""The folder of published models: model_store/<name>/<version>/manifest.json, and which is served."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from app.contract.manifest import Manifest
from app.errors import InvalidSettings

CURRENT = "current"
"""The file in the store that names the version served, as <name>/<version>."""


def served_manifest(store: Path) -> Manifest | None:
    """What the served model says of itself; None where the store names none."""
    current = store / CURRENT
    if not current.is_file():
        return None
    path = store / current.read_text("utf-8").strip() / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidSettings(f"CONVICTION_MODEL_STORE: the manifest of {current.name} cannot be read") from error
