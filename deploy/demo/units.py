"""Texts of values in the dashboards' units, and the axes of charts, close to those of Grafana."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.pricing.prices import plain

STEPS = 4
"""Ticks on a linear axis beside its first, about."""
MOST_TICKS = 7


class UnknownPart(ValueError):
    """A part of a dashboard that the pictures cannot show."""


@dataclass(frozen=True)
class Unit:
    """Sizes with their suffixes, ascending: a value is written in the largest that it reaches."""

    sizes: tuple[tuple[float, str], ...]
    prefix: str = ""


UNITS = {
    "none": Unit(((1, ""),)),
    "currencyUSD": Unit(((1, ""), (1e3, "K"), (1e6, "M")), prefix="$"),
    "percentunit": Unit(((0.01, "%"),)),
    "reqps": Unit(((1, " req/s"), (1e3, "K req/s"))),
    "ms": Unit(((1, " ms"), (1e3, " s"), (60e3, " min"), (3600e3, " hour"))),
    "s": Unit(((1e-6, " µs"), (1e-3, " ms"), (1, " s"), (60, " min"), (3600, " hour"))),
}


def text(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value's text, with three significant digits where no decimals are stated. Raises `UnknownPart`."""
    if unit not in UNITS:
        raise UnknownPart(f"unit {unit!r}")
    sizes = UNITS[unit].sizes
    size, suffix = next((each for each in reversed(sizes) if abs(value) >= each[0]), sizes[0])
    written = _significant(abs(value) / size) if decimals is None else f"{abs(value) / size:.{decimals}f}"
    return f"{'-' if value < 0 else ''}{UNITS[unit].prefix}{written}{suffix}"


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    return plain(Decimal(f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"))


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    ticks: tuple[float, ...]


def linear_axis(values: Sequence[float], low: float | None, high: float | None) -> Axis:
    """Return an axis over the values from and to round numbers, or from and to those given."""
    least, most = (min(values) if low is None else low), (max(values) if high is None else high)
    if most <= least:
        most = least + 1
    step = next(size for size in _round(most - least) if size * STEPS >= (most - least) * 0.99)
    first = math.floor(least / step + 1e-9)
    last = math.ceil(most / step - 1e-9)
    ticks = tuple(step * place for place in range(first, last + 1))
    return Axis(ticks[0], ticks[-1] if high is None else high, ticks)


def logarithmic_axis(values: Sequence[float]) -> Axis:
    """Return an axis over the positive values; its ticks are decades, or 1, 2 and 5 of each where these are few."""
    positive = [value for value in values if value > 0] or [1.0]
    sizes = _round(min(positive), max(positive))
    above = next(place for place, size in enumerate(sizes) if size >= max(positive))
    below = max(place for place, size in enumerate(sizes) if size <= min(positive))
    within = sizes[below : max(above, below + 1) + 1]
    decades = tuple(size for size in within if f"{size:e}".startswith("1"))
    return Axis(within[0], within[-1], within if len(within) <= MOST_TICKS else decades)


def _round(least: float, most: float | None = None) -> tuple[float, ...]:
    """Return 1, 2 and 5 times each power of ten around the values."""
    powers = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most or least)) + 2)
    return tuple(float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5))
