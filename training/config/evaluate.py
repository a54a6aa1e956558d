"""Evaluation of the systems on the test pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from training.config.section import Positive, Section


class Evaluate(Section):
    """Evaluation settings."""

    concurrency: Positive = 8
    """Concurrent requests."""
    consistency: Annotated[int, Field(ge=0)] = 100
    """Pairs asked again with metrics reordered, rounded, under another ticker, and without a ticker."""
    beside: tuple[Literal["base", "adapter", "merged"], ...] = ("base", "adapter", "merged")
    """Systems evaluated besides the 4-bit weights: untuned base, adapter on its base, merged weights."""
