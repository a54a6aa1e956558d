"""Progress of a stage on standard error: a line that is rewritten at a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Ticking:
    """Counts what is done and says how long the rest will take."""

    def __init__(self, total: int, label: str) -> None:
        self.total, self.label, self.done = total, label, 0
        self.start = self.said = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def tick(self) -> None:
        self.done += 1
        now, finished = time.monotonic(), self.done == self.total
        if finished or now - self.said >= (1 if self.terminal else 30):
            left = (now - self.start) / self.done * (self.total - self.done)
            line = f"{self.label}: {self.done}/{self.total}, {left:.0f} s left   "
            print(line, end="\r" if self.terminal and not finished else "\n", file=sys.stderr, flush=True)
            self.said = now


def progress(items: Sequence[T], label: str) -> Iterator[T]:
    """Hand out the items, ticking after each."""
    ticking = Ticking(len(items), label)
    for item in items:
        yield item
        ticking.tick()
