"""Published versions, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.artifacts import write_json
from training.config.dataset import Dataset
from training.dataset.lineage import split_rule

STORE = Path(__file__).parents[2] / "model_store"
SHIPPED = STORE / (STORE / "current").read_text().strip() / "manifest.json"


def published(folder: Path, *datasets: Mapping[str, Any]) -> Path:
    """Write a version without adapter files whose lineage has these data sets; with none, it states no lineage."""
    folder.mkdir(parents=True)
    manifest = json.loads(SHIPPED.read_text())
    rules = [split_rule(Dataset.model_validate(dataset)) for dataset in datasets]
    data = {name: value for name, value in manifest["data"].items() if name != "splits"}
    stated = {**data, "splits": rules} if rules else data
    write_json(folder / "manifest.json", {**manifest, "adapter": {}, "data": stated})
    return folder
