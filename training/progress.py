"""Progress of a stage on standard error: a line rewritten on a terminal, a line every 30 s in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """Counter of completed items that prints the estimated remaining time."""

    def __init__(self, total: int, label: str) -> None:
        self.total, self.label, self.done = total, label, 0
        self.start = self.printed = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def advance(self) -> None:
        self.done += 1
        now, finished = time.monotonic(), self.done == self.total
        if finished or now - self.printed >= (1 if self.terminal else 30):
            left = (now - self.start) / self.done * (self.total - self.done)
            line = f"{self.label}: {self.done}/{self.total}, {left:.0f} s left   "
            print(line, end="\r" if self.terminal and not finished else "\n", file=sys.stderr, flush=True)
            self.printed = now


def track(items: Sequence[T], label: str) -> Iterator[T]:
    """Yield the items, counting each as done when the next one is requested."""
    bar = Progress(len(items), label)
    for item in items:
        yield item
        bar.advance()
