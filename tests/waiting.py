"""Wait until another task has done something that announces itself by no event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(reached: Callable[[], object], seconds: float = 20) -> None:
    """Poll until the condition is true. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
