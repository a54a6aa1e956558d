"""One process of our own, in a group of its own, that never outlives us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from app.stores.parent_death import ending_with_parent

TIMEOUT_S = 20.0
"""From the request to end until the process is killed."""


@dataclass(frozen=True)
class Program:
    """What to run, and the file that takes what it says; without one it speaks on the terminal."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    log: Path | None = None


class Process:
    """A running program. All of its group ends with it; nothing else is ever signalled."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    @classmethod
    def start(cls, program: Program) -> Self:
        """A command that does not exist is a program that ends with status 1 and says why."""
        log = program.log.open("ab") if program.log else None
        try:
            return cls(
                subprocess.Popen(
                    ending_with_parent(*program.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT if log else None,
                    env=dict(program.environment),
                    start_new_session=True,
                )
            )
        finally:
            if log:
                log.close()

    async def ended(self) -> int:
        """Wait for the end; the exit status, negative for a signal."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._reap()

    async def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._popen.returncode is not None:
            return
        os.kill(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                await self.ended()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            await self.ended()

    def _reap(self) -> int:
        """Kill what is left of the group while the dead leader, not yet waited for, still keeps its number."""
        if self._popen.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait()
