"""What the supervisor says on the terminal: lines, and one that tells how long something is taking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO

ERASE = "\r\x1b[K"
LOG_EVERY_S = 15
"""How often a wait is told of where lines cannot be rewritten."""


@dataclass
class Wait:
    """Something that takes a while, and the latest there is to say of it."""

    what: str
    latest: str = ""
    started: float = field(default_factory=monotonic)

    def __str__(self) -> str:
        return f"{self.what}, {monotonic() - self.started:.0f} s{self.latest and f', {self.latest}'}"


class Screen:
    """A terminal, where a line of progress is rewritten every second, or a log, where it is repeated now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = self._stream.isatty()
        self._unfinished = False

    def say(self, line: str) -> None:
        """A line that stays."""
        self._write((ERASE if self._unfinished else "") + line + "\n")
        self._unfinished = False

    @asynccontextmanager
    async def waiting(self, what: str, latest: str = "") -> AsyncIterator[Wait]:
        """While inside, says "what, 35 s, latest"; on leaving in order, how long it took."""
        wait = Wait(what, latest)
        ticking = asyncio.create_task(self._tick(wait))
        try:
            yield wait
        finally:
            ticking.cancel()
            if self._unfinished:
                self._write(ERASE)
                self._unfinished = False
        self.say(f"{what}: done in {monotonic() - wait.started:.0f} s")

    async def _tick(self, wait: Wait) -> None:
        while True:
            if self._live:
                self._write(f"{ERASE}{wait}")
                self._unfinished = True
            else:
                self.say(str(wait))
            await asyncio.sleep(1 if self._live else LOG_EVERY_S)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
