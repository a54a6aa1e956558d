"""bench/results.json: sections of figures, an entry for each kind of CPU. Needs only the standard library."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.contract.hardware import Profile
from app.contract.machine import Machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results.json"
EMULATED_AVX2: Mapping[str, str] = {
    "CONVICTION_DTYPE": "float32",
    "CONVICTION_WEIGHTS": "dequantized",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
"""Variables that disable AVX-512 in PyTorch and oneDNN."""


def kind(machine: Machine, *, emulated: bool = False) -> str:
    """Return the key under which figures of such a machine are stored."""
    if emulated:
        return "AVX2 emulated"
    if machine.gpus:
        return machine.gpus[0].name
    if machine.architecture != "x86_64":
        return machine.architecture
    return "AVX-512" if "avx512f" in machine.flags else "AVX2"


def origin(machine: Machine, profile: Profile, load_average: float) -> dict[str, Any]:
    """Return where, when and with which commit figures were measured."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": str(machine),
        "profile": str(profile),
        "commit": commit.stdout.strip() or "unknown",
        "load_average": round(load_average, 2),
    }


def store(place: Sequence[str], figures: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Write `figures` at the place, such as ("fresh", "AVX2"), and keep the rest of the file."""
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    *sections, last = place
    section = document
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = figures
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
