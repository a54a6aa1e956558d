"""Progress of a stage on standard error: a line that is rewritten at a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def progress(items: Sequence[T], label: str) -> Iterator[T]:
    """Hand out the items, saying how many are done and how long the rest will take."""
    every = 1.0 if sys.stderr.isatty() else 30.0
    start = last = time.monotonic()
    for index, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last >= every or index + 1 == len(items):
            left = (now - start) / (index + 1) * (len(items) - index - 1)
            ending = "\r" if sys.stderr.isatty() and index + 1 < len(items) else "\n"
            print(f"{label}: {index + 1}/{len(items)}, {left:.0f} s left   ", end=ending, file=sys.stderr, flush=True)
            last = now
