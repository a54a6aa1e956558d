"""A program that is kept running: started, waited for until it is ready, and started again when it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from app.supervisor.failures import CannotStart
from app.supervisor.process import Process, Program

ATTEMPTS = 3
"""Lives without having been ready once, after which there is no point in another."""


class NotReady(Exception):
    """A program runs and has not become ready in the time it was given."""


@dataclass(frozen=True)
class Pauses:
    """Seconds between an end and the next start: twice as long each time, the first again after a long life."""

    first: float = 1.0
    longest: float = 60.0
    long_life: float = 120.0

    def after(self, last: float | None, lived: float) -> float:
        """The pause after a life of so many seconds, where `last` was the pause before it."""
        return self.first if last is None or lived >= self.long_life else min(2 * last, self.longest)


class Service:
    """`become_ready` returns once the program does what it is for; what it raises but `NotReady` ends the service."""

    def __init__(
        self,
        program: Callable[[], Program],
        become_ready: Callable[[], Coroutine[Any, Any, None]],
        say: Callable[[str], None],
        pauses: Pauses | None = None,
    ) -> None:
        self._program = program
        self._become_ready = become_ready
        self._say = say
        self._pauses = pauses or Pauses()
        self._ready = asyncio.Event()
        self._was_ready = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Yields once it is ready, with a task that ends only where the service cannot go on, and raises why."""
        task, ready = asyncio.create_task(self._run()), asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield task
        finally:
            ready.cancel()
            task.cancel()
            await asyncio.gather(task, ready, return_exceptions=True)

    async def _run(self) -> None:
        lives, pause = 0, None
        while True:
            program, born, lives = self._program(), monotonic(), lives + 1
            end = described(await self._live(program))
            where = f"; its log is {program.log}" if program.log else ""
            if not self._was_ready and lives == ATTEMPTS:
                raise CannotStart(f"{program.name} {end}, {lives} times in a row before it was ready{where}")
            pause = self._pauses.after(pause, monotonic() - born)
            self._say(f"{program.name} {end}; starting it again in {pause:g} s{where}")
            await asyncio.sleep(pause)

    async def _live(self, program: Program) -> int | None:
        """One life, from start to end; its exit status, None where it did not become ready in time."""
        process = Process.start(program)
        ended, becoming = asyncio.create_task(process.ended()), asyncio.create_task(self._become_ready())
        try:
            await asyncio.wait({ended, becoming}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                becoming.result()
                self._announce(program)
            return await ended
        except NotReady:
            return None
        finally:
            self._ready.clear()
            becoming.cancel()
            ended.cancel()
            await asyncio.gather(becoming, ended, return_exceptions=True)
            await process.stop()

    def _announce(self, program: Program) -> None:
        if self._was_ready:
            self._say(f"{program.name} is back")
        self._ready.set()
        self._was_ready = True


def described(status: int | None) -> str:
    """How a life ended."""
    if status is None:
        return "was not ready in time"
    return f"ended (exit status {status})" if status >= 0 else f"was killed ({signal.Signals(-status).name})"
