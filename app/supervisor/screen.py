"""Terminal output of the supervisor: lines, and a progress line with the elapsed time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO

ERASE = "\r\x1b[K"
LOG_EVERY_S = 15
"""Interval of progress lines where the output is no terminal."""


@dataclass
class Progress:
    """A step that takes a while; `detail` is its latest state."""

    step: str
    detail: str = ""
    started: float = field(default_factory=monotonic)

    def __str__(self) -> str:
        return f"{self.step}, {monotonic() - self.started:.0f} s{self.detail and f', {self.detail}'}"


class Screen:
    """Writes to a terminal, where the progress line is rewritten every second, or to a log, where it is repeated."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = self._stream.isatty()
        self._unfinished = False

    def print(self, line: str) -> None:
        """Write a permanent line."""
        self._write((ERASE if self._unfinished else "") + line + "\n")
        self._unfinished = False

    @asynccontextmanager
    async def progress(self, step: str, detail: str = "") -> AsyncIterator[Progress]:
        """Show "step, 35 s, detail" until the block ends; print the duration if it ends without an error."""
        progress = Progress(step, detail)
        updating = asyncio.create_task(self._update(progress))
        try:
            yield progress
        finally:
            updating.cancel()
            if self._unfinished:
                self._write(ERASE)
                self._unfinished = False
        self.print(f"{step}: done in {monotonic() - progress.started:.0f} s")

    async def _update(self, progress: Progress) -> None:
        while True:
            if self._terminal:
                self._write(f"{ERASE}{progress}")
                self._unfinished = True
            else:
                self.print(str(progress))
            await asyncio.sleep(1 if self._terminal else LOG_EVERY_S)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
