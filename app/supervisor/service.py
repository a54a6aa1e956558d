"""A program that is kept running: started, awaited until ready, and restarted with backoff when it exits."""

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
"""Starts without ever becoming ready, after which the service fails."""


class NotReady(Exception):
    """A program runs but was not ready in time."""


@dataclass(frozen=True)
class Backoff:
    """Seconds between an exit and the next start: doubled each time, and the initial delay again after a long run."""

    initial: float = 1.0
    maximum: float = 60.0
    reset_after: float = 120.0

    def next(self, last: float | None, uptime: float) -> float:
        """Return the delay after a run of `uptime` seconds; `last` is the delay before that run."""
        return self.initial if last is None or uptime >= self.reset_after else min(2 * last, self.maximum)


class Service:
    """Keeps a program running.

    `wait_until_ready` returns once the program serves; `NotReady` from it restarts the program, any other exception
    ends the service.
    """

    def __init__(
        self,
        program: Callable[[], Program],
        wait_until_ready: Callable[[], Coroutine[Any, Any, None]],
        report: Callable[[str], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._program = program
        self._wait_until_ready = wait_until_ready
        self._report = report
        self._backoff = backoff or Backoff()
        self._ready = asyncio.Event()
        self._was_ready = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Yield, once ready, a task that never returns and raises the error that ends the service."""
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
        starts, delay = 0, None
        while True:
            program, started, starts = self._program(), monotonic(), starts + 1
            end = describe_exit(await self._run_once(program))
            where = f"; its log is {program.log}" if program.log else ""
            if not self._was_ready and starts == ATTEMPTS:
                raise CannotStart(f"{program.name} {end}, {starts} times in a row before it was ready{where}")
            delay = self._backoff.next(delay, monotonic() - started)
            self._report(f"{program.name} {end}; starting it again in {delay:g} s{where}")
            await asyncio.sleep(delay)

    async def _run_once(self, program: Program) -> int | None:
        """Run the program until it exits; return its exit status, or None if it was not ready in time."""
        process = Process.start(program)
        ended, becoming_ready = asyncio.create_task(process.ended()), asyncio.create_task(self._wait_until_ready())
        try:
            await asyncio.wait({ended, becoming_ready}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                becoming_ready.result()
                if self._was_ready:
                    self._report(f"{program.name} is running again")
                self._ready.set()
                self._was_ready = True
            return await ended
        except NotReady:
            return None
        finally:
            self._ready.clear()
            becoming_ready.cancel()
            ended.cancel()
            await asyncio.gather(becoming_ready, ended, return_exceptions=True)
            await process.stop()


def describe_exit(status: int | None) -> str:
    if status is None:
        return "was not ready in time"
    return f"ended (exit status {status})" if status >= 0 else f"was killed ({signal.Signals(-status).name})"
