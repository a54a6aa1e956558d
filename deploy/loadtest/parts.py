"""The processes of a deployment, each kept running: what ends is started again a second later."""

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
"""As an orchestrator would wait."""
START_S = 120.0
POLL_S = 0.05


class ScaleError(Exception):
    """The deployment does not come up, or does not come back; the message says which part."""


@dataclass
class Part:
    """One process after another of the same program."""

    program: Program
    answers: Callable[[], Awaitable[bool]]
    """Whether it does what it is for, asked from outside."""
    clean_up: Callable[[], object] = lambda: None
    """What is done before it is started again."""
    ends: list[int] = field(default_factory=list)
    """Exit statuses so far, negative for a signal."""
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
        """Return once it has ended more than `ends` times and answers again. Raises `ScaleError`."""
        await until(lambda: self._is_back(ends), f"{self.name} is back", LOADING_S)

    async def stop(self) -> None:
        """For good."""
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
    """Look again and again. Raises `ScaleError`."""
    over = monotonic() + seconds
    while not await reached():
        if monotonic() > over:
            raise ScaleError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(POLL_S)
