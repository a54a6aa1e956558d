"""A figure that grows linearly with the number of layers, through two measurements."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

Points = Sequence[tuple[int, float]]
"""Layers and the figure with so many, from the fewest."""


def slope(points: Points) -> float | None:
    """Return what a layer adds, at least 0; None without two points."""
    if len(points) < 2:
        return None
    (few, low), (many, high) = points[0], points[-1]
    return max(0.0, (high - low) / (many - few))


def at(points: Points, layers: int) -> float | None:
    """Return the figure with `layers` layers: the measured one, else that on the line; None without two points."""
    for number, figure in points:
        if number == layers:
            return figure
    rise = slope(points)
    return None if rise is None else points[-1][1] + rise * (layers - points[-1][0])


def fitting(points: Points, limit: float, layers: int) -> int | None:
    """Return how many of `layers` layers keep the figure within `limit`; None without two points."""
    rise = slope(points)
    if rise is None:
        return None
    if rise == 0:
        return layers if points[-1][1] <= limit else 0
    return min(layers, max(0, floor(points[-1][0] + (limit - points[-1][1]) / rise)))
