"""A child process in its own process group, which ends with this process."""

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
"""From SIGTERM to SIGKILL."""


@dataclass(frozen=True)
class Program:
    """What to run. Without a log, it writes to this process's output."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    log: Path | None = None
    marker: Path | None = None
    """A file that is created at the start and removed at an exit with status 0; after a crash it is still there."""


class Process:
    """A running program. When it ends, its whole process group is killed; no other process is ever signalled."""

    def __init__(self, program: Program, popen: subprocess.Popen[bytes]) -> None:
        self._program = program
        self._popen = popen
        self.pid = popen.pid

    @classmethod
    def start(cls, program: Program) -> Self:
        """Start a program. A command that does not exist ends with status 1 and an error in its log."""
        if program.marker:
            program.marker.touch()
        log = program.log.open("ab") if program.log else None
        try:
            popen = subprocess.Popen(
                ending_with_parent(*program.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                env=dict(program.environment),
                start_new_session=True,
            )
        finally:
            if log:
                log.close()
        return cls(program, popen)

    async def ended(self) -> int:
        """Wait for the end and return the exit status, negative for a signal."""
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
        """Send SIGTERM, and SIGKILL if the process has not ended within the timeout."""
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
        """Kill the rest of the group, then wait for the leader: until then, no other process can have its number."""
        if self._popen.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
        status = self._popen.wait()
        if status == 0 and self._program.marker:
            self._program.marker.unlink(missing_ok=True)
        return status
