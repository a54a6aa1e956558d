"""How many calls a backend is asked at a time, and how many may wait for their turn: the rest are refused at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic

from app.errors import Overloaded

FIRST_GUESS_S = 1.0
"""How long a call takes, while none has ended."""
WEIGHT = 0.1
"""Of the latest call in the mean."""


class Gate:
    """First come, first served."""

    def __init__(self, at_once: int, line: int, clock: Callable[[], float] = monotonic) -> None:
        self._at_once = at_once
        self._longest = line
        self._clock = clock
        self._inside = 0
        self._coming = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._mean_s = FIRST_GUESS_S

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def full(self) -> bool:
        """Whether there is no room in line either."""
        return self._inside >= self._at_once and len(self._line) >= self._longest

    @property
    def half_full(self) -> bool:
        """Whether half its places are taken, so that what can do without should."""
        return 2 * self._inside >= self._at_once

    def refusal(self) -> Overloaded:
        """What to tell who is refused: when there may be room."""
        turns = (len(self._line) + 1) / self._at_once
        return Overloaded("too many requests are waiting for this backend", retry_after=turns * self._mean_s)

    def check(self) -> None:
        """Raise `Overloaded` if there is no room in line."""
        if self.full:
            raise self.refusal()

    @contextmanager
    def coming(self) -> Iterator[bool]:
        """Announce oneself while one is on the way; whether all who are will find a place at once.

        One counts until the loop's next turn, which is when a task that is made now takes its place.
        """
        at_once = self._inside + self._coming < self._at_once
        self._coming += 1
        try:
            yield at_once
        finally:
            asyncio.get_running_loop().call_soon(self._arrived)

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for one's turn. Raises `Overloaded` as `check` does."""
        self.check()
        await self._enter()
        began = self._clock()
        try:
            yield
        finally:
            self._mean_s += WEIGHT * (self._clock() - began - self._mean_s)
            self._leave()

    async def _enter(self) -> None:
        if self._inside < self._at_once:
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._line.remove(turn)
            raise

    def _arrived(self) -> None:
        self._coming -= 1

    def _leave(self) -> None:
        """Hand one's place to the next in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._inside -= 1
