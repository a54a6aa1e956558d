"""Writes dashboards/*.json, or to another folder: `python -m deploy.compose.grafana [FOLDER]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.compose.grafana import ab, cost, overview, vllm

FOLDER = Path(__file__).parent / "dashboards"


def write(folder: Path) -> None:
    """Write a file for each dashboard."""
    for module in (overview, cost, ab, vllm):
        name = module.__name__.rpartition(".")[2]
        built = module.dashboard().build()
        for number, panel in enumerate(built.panels or (), 1):
            panel.id_val = number
        text = json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True)
        (folder / f"{name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
