"""Watching programs from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.supervisor.process import Program

T = TypeVar("T")


async def eventually(look: Callable[[], T], seconds: float = 10) -> T:
    """What `look` returns, once that is true."""
    async with asyncio.timeout(seconds):
        while True:
            if seen := look():
                return seen
            await asyncio.sleep(0.01)


async def said(program: Program) -> str:
    """What it has written to its log, once it has."""
    return await eventually(lambda: log_of(program).read_text().strip())


def log_of(program: Program) -> Path:
    assert program.log
    return program.log


def gone(pid: int) -> bool:
    """Whether there is no such process, or only its remains."""
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
