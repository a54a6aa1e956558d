"""Observe processes from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.supervisor.process import Program

T = TypeVar("T")


async def eventually(condition: Callable[[], T], seconds: float = 10) -> T:
    """Poll `condition` and return its first true value."""
    async with asyncio.timeout(seconds):
        while True:
            if value := condition():
                return value
            await asyncio.sleep(0.01)


async def output(program: Program) -> str:
    """Return the program's log once it is not empty."""
    return await eventually(lambda: log_of(program).read_text().strip())


def log_of(program: Program) -> Path:
    assert program.log
    return program.log


def gone(pid: int) -> bool:
    """Return whether there is no such process, or only a zombie."""
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
