"""Plots of the report, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.contract.recommendation import ACTIONS
from training.evaluation.scores import OUTCOMES

COLOURS = ("#1d5fbf", "#d9731a", "#2a8a5b", "#8a4fb5")
SOFT = "#5b6675"

Points = Sequence[Mapping[str, Any]]


def confusion(counts: Mapping[str, Mapping[str, int]], teacher: str) -> bytes:
    """Plot the model's actions (columns) by the teacher's (rows), shaded by share of the row."""
    table = np.array([[counts[true][outcome] for outcome in OUTCOMES] for true in ACTIONS])
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure, axes = _figure(5.2, 3.4)
    axes.grid(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(table):
        ink = "white" if shares[row, column] > 0.5 else "#1b2330"
        axes.text(column, row, f"{count}\n{shares[row, column]:.0%}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(OUTCOMES)), OUTCOMES)
    axes.set_yticks(range(len(ACTIONS)), ACTIONS)
    axes.set(xlabel="model", ylabel=f"{teacher}")
    return _png(figure)


def reliability(curves: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Plot agreement against stated probability, with Wilson intervals."""
    figure, axes = _figure(5.2, 4.2)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--", label="as stated")
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        points = curve["points"]
        _with_intervals(axes, [p["stated"] for p in points], points, f"{name} (ECE {curve['ece']:.3f})", colour)
    axes.set(xlabel="stated probability of agreeing", ylabel="share that agreed", xlim=(0, 1.02), ylim=(0, 1.02))
    return _png(figure, legend=True)


def learning(curves: Mapping[str, Points]) -> bytes:
    """Plot agreement over the number of training pairs, on a logarithmic axis; figures without interval are dashed."""
    figure, axes = _figure(6.4, 4)
    sizes = sorted({point["pairs"] for points in curves.values() for point in points})
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        x, found = [p["pairs"] for p in points], [p["agreement"] for p in points]
        if all("low" in share for share in found):
            _with_intervals(axes, x, found, name, colour)
        else:
            axes.plot(x, [share["value"] for share in found], "D--", label=name, color=colour, markersize=5)
    axes.set_xscale("log")
    apart = [size for size, larger in pairwise([*sizes, inf]) if larger > 1.25 * size]
    axes.set_xticks(apart, [f"{size:,}" for size in apart])
    axes.minorticks_off()
    axes.set(xlabel="training pairs", ylabel="agreement on unseen tickers")
    return _png(figure, legend=True)


def by_missing(systems: Mapping[str, Points]) -> bytes:
    """Plot agreement by number of missing metrics."""
    figure, axes = _figure(6.4, 3.6)
    labels = {part["least"]: span(part) for parts in systems.values() for part in parts}
    places = {least: place for place, least in enumerate(sorted(labels))}
    for colour, (name, parts) in zip(COLOURS, systems.items(), strict=False):
        _with_intervals(axes, [places[p["least"]] for p in parts], [p["agreement"] for p in parts], name, colour)
    axes.set_xticks(range(len(labels)), [labels[least] for least in places])
    axes.set(xlabel="metrics missing", ylabel="agreement", ylim=(None, 1.02))
    return _png(figure, legend=True)


def frontier(points: Points, alone: Mapping[str, Any], first: str, api: str) -> bytes:
    """Plot cost against agreement over thresholds, from the first backend alone to the API alone."""
    figure, axes = _figure(6.4, 4.2)
    _with_intervals(
        axes, [p["usd_per_1k_answers"] for p in points], [p["agreement"] for p in points], "cascade", COLOURS[0]
    )
    axes.plot(alone["usd_per_1k_answers"], alone["agreement"], "s", color=COLOURS[1], label=f"{api} alone")
    ends = ((points[0], f"{first} alone"), *((point, f"{point['threshold']:g}") for point in points[1:]))
    last_labelled = 0.0
    for point, name in ends:
        if point["passed_on"] >= last_labelled or point is points[0]:
            place = (point["usd_per_1k_answers"], point["agreement"]["value"])
            axes.annotate(name, place, xytext=(6, -12), textcoords="offset points", color=SOFT, fontsize=8)
            last_labelled = point["passed_on"] + 0.04
    axes.set(xlabel="USD per 1,000 answers", ylabel="agreement with the teacher", xlim=(0, None), ylim=(None, 1.01))
    return _png(figure, legend=True)


def span(part: Mapping[str, Any]) -> str:
    """Format a bin of missing metrics."""
    return str(part["least"]) if part["least"] == part["most"] else f"{part['least']} to {part['most']}"


def _with_intervals(axes: Axes, x: Sequence[float], points: Points, label: str, colour: str) -> None:
    """Plot points with their intervals; a bootstrap interval may miss its value by rounding."""
    y = [point.get("value", point.get("agreement")) for point in points]
    below = [max(0.0, value - point["low"]) for value, point in zip(y, points, strict=True)]
    above = [max(0.0, point["high"] - value) for value, point in zip(y, points, strict=True)]
    axes.errorbar(x, y, [below, above], label=label, color=colour, marker="o", markersize=4, capsize=3, linewidth=1.5)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _png(figure: Figure, legend: bool = False) -> bytes:
    if legend:
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
