"""Plot of a run's training and validation curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure


def draw(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a PNG of training and validation loss per step, and agreement with the teacher on validation pairs."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    agreement = axes.twinx()
    for name, label, target, style in (
        ("loss", "training loss", axes, {"color": "tab:blue", "alpha": 0.5}),
        ("eval_loss", "validation loss", axes, {"color": "tab:orange", "marker": "o"}),
        ("eval_agreement", "held-out agreement", agreement, {"color": "tab:green", "marker": "s"}),
    ):
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        target.plot(*zip(*points, strict=True) if points else ([], []), label=label, **style)
    axes.set(xlabel="step", ylabel="loss a token of the answer")
    axes.set_ylim(bottom=0)
    agreement.set(ylabel="agreement of the action", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=3)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
