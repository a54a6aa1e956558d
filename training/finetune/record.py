"""The combined manifest of the stages that trained an adapter."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from training.artifacts import Artifacts


def tuning(run: Artifacts) -> dict[str, Any]:
    """Return the manifest of `finetune`; after `qat` with its adapter, both histories and summed tokens, time and cost.

    Raises `FileNotFoundError` naming the missing stage.
    """
    finetune = run.manifest("finetune")
    if not run.done("qat"):
        return finetune
    qat = run.manifest("qat")
    return {
        **finetune,
        "adapter_sha256": qat["adapter_sha256"],
        "tokens": finetune["tokens"] + qat["tokens"],
        "seconds": round(finetune["seconds"] + qat["seconds"], 1),
        "cost_usd": str(Decimal(finetune["cost_usd"]) + Decimal(qat["cost_usd"])),
        "qat": {name: qat[name] for name in ("pairs", "tokens", "seconds")},
        "history": [*finetune["history"], *_offset(finetune["history"], qat["history"])],
    }


def _offset(finetune: list[dict[str, Any]], qat: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the second history with steps and seconds offset by the finetune's totals."""
    steps, seconds = finetune[-1]["step"], finetune[-1]["seconds"]
    return [{**entry, "step": entry["step"] + steps, "seconds": round(entry["seconds"] + seconds, 1)} for entry in qat]
