"""Cancellation of a task at each of its awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

Work = Coroutine[Any, Any, Any]
Scenario = Callable[[Callable[[Work], Awaitable[None]]], Awaitable[None]]


class CancelledAt:
    """Runs a coroutine and cancels it at its `number`-th await: while it waits or, if `late`, once that has happened.

    The second is the race in which a result and the cancellation arrive in the same iteration of the event loop.
    """

    def __init__(self, coroutine: Work, number: int, late: bool) -> None:
        self._coroutine, self._number, self._late = coroutine, number, late
        self.reached = False
        """Whether there was such an await."""

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._coroutine.send, None)
        for number in count():
            try:
                awaited = step()
            except StopIteration as done:
                return done.value
            here = number == self._number
            self.reached |= here
            task = asyncio.current_task()
            if here and not self._late and task is not None:
                task.cancel()
            step = partial(self._coroutine.send, None)
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - passed on to the coroutine
                step = partial(self._coroutine.throw, error)
            if here and self._late:
                step = partial(self._coroutine.throw, asyncio.CancelledError())


async def cancel_everywhere(scenario: Scenario) -> int:
    """Play the scenario for each await of the coroutine that it runs through its argument, and return their number."""
    for number in count():
        reached = [await _play(scenario, number, late) for late in (False, True)]
        if not any(reached):
            return number
    raise AssertionError


async def _play(scenario: Scenario, number: int, late: bool) -> bool:
    reached = False

    async def run(work: Work) -> None:
        nonlocal reached
        cancelled = CancelledAt(work, number, late)

        async def task() -> None:
            await cancelled

        with suppress(asyncio.CancelledError):
            await asyncio.create_task(task())
        reached |= cancelled.reached

    await scenario(run)
    return reached
