"""Figures that differ from one request to the next, so that no cache answers. Needs only the standard library."""

from __future__ import annotations

import random
from typing import Any

DERIVED = ("iv_skew", "put_call_ratio")
"""Figures that follow from others; the gateway refuses those that contradict them."""


def varied(example: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the metrics with each figure drawn around its own value; the number decides the draw."""
    draw = random.Random(number)  # noqa: S311 - figures, not secrets
    return {name: _varied(value, draw) for name, value in example.items()}


def ticker(number: int) -> str:
    """Return a ticker of four letters for a number."""
    return "".join(chr(ord("A") + number // 26**place % 26) for place in range(4))


def _varied(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict):
        return {name: _varied(each, draw) for name, each in value.items() if name not in DERIVED}
    if isinstance(value, int):
        return max(1, int(value * draw.uniform(0.3, 2)))
    return value * draw.uniform(0.8, 1.2) if isinstance(value, float) else value
