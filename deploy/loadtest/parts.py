"""The processes of a deployment. One that ends is restarted after a second."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

from app.supervisor.process import Process, Program
from app.supervisor.vllm import LOADING_S

RESTART_S = 1.0
"""Seconds before a restart, as with an orchestrator."""
START_S = 120.0
POLL_S = 0.05


class ScaleError(Exception):
    """A part of the deployment did not start or recover; the message names it."""


@dataclass
class Part:
    """A program that is restarted when it ends."""

    program: Program
    answers: Callable[[], Awaitable[bool]]
    """Returns whether the program works, by a request to it."""
    clean_up: Callable[[], object] = lambda: None
    """Runs before a restart."""
    ends: list[int] = field(default_factory=list)
    """Exit statuses so far; negative for a signal."""
    _process: Process | None = None
    _keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = Process.start(self.program)
        self._keeping = asyncio.create_task(self._keep())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def back(self, ends: int) -> None:
        """Wait until it has ended more than `ends` times and works again. Raises `ScaleError`."""
        await until(lambda: self._is_back(ends), f"{self.name} works again", LOADING_S)

    async def stop(self) -> None:
        """Stop the program without a restart."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        if self._process is not None:
            await self._process.stop()

    async def _keep(self) -> None:
        assert self._process is not None
        while True:
            self.ends.append(await self._process.ended())
            await asyncio.sleep(RESTART_S)
            self.clean_up()
            self._process = Process.start(self.program)

    async def _is_back(self, ends: int) -> bool:
        return len(self.ends) > ends and await self.answers()


async def until(reached: Callable[[], Awaitable[bool]], what: str, seconds: float = START_S) -> None:
    """Poll a condition. Raises `ScaleError` after the limit."""
    over = monotonic() + seconds
    while not await reached():
        if monotonic() > over:
            raise ScaleError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(POLL_S)
