"""What it took to tune an adapter: both stages' manifests as one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from training.artifacts import Artifacts


def tuning(run: Artifacts) -> dict[str, Any]:
    """The manifest of `finetune`; where `qat` trained on, its adapter and history too, and the sums of what both took.

    Raises `FileNotFoundError` naming the stage that has to run first.
    """
    first = run.manifest("finetune")
    if not run.done("qat"):
        return first
    then = run.manifest("qat")
    return {
        **first,
        "adapter_sha256": then["adapter_sha256"],
        "tokens": first["tokens"] + then["tokens"],
        "seconds": round(first["seconds"] + then["seconds"], 1),
        "cost_usd": str(Decimal(first["cost_usd"]) + Decimal(then["cost_usd"])),
        "qat": {name: then[name] for name in ("pairs", "tokens", "seconds")},
        "history": [*first["history"], *_after(first["history"], then["history"])],
    }


def _after(first: list[dict[str, Any]], then: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The second history with its steps and seconds counted on from the first's."""
    steps, seconds = first[-1]["step"], first[-1]["seconds"]
    return [{**entry, "step": entry["step"] + steps, "seconds": round(entry["seconds"] + seconds, 1)} for entry in then]
