"""A progress bar on standard error, shown only on a terminal."""

from __future__ import annotations

import sys

WIDTH = 30


class Progress:
    def __init__(self, items: int) -> None:
        self._items, self._done = items, 0
        self._shown = sys.stderr.isatty()

    def clear(self) -> None:
        """Erase the bar, so that a line can be printed."""
        self._write("\r\033[K")

    def advance(self, failed: int = 0) -> None:
        """Count one more item as done and show the bar with the number of failed items."""
        self._done += 1
        full = WIDTH * self._done // self._items
        counts = f"{self._done}/{self._items}" + (f", {failed} failed" if failed else "")
        self._write(f"\r[{'#' * full}{'.' * (WIDTH - full)}] {counts}")

    def end(self) -> None:
        self._write("\n")

    def _write(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(text)
            sys.stderr.flush()
