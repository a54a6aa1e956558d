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


class ConcurrencyLimit:
    """First come, first served."""

    def __init__(self, concurrency: int, line: int, clock: Callable[[], float] = monotonic) -> None:
        self._at_once = concurrency
        self._longest = line
        self._clock = clock
        self._inside = 0
        self._promised = 0
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
        """Announce oneself while one is on the way; whether a place is promised.

        A promise lasts through the loop's next turn, so that a task that is made now still enters by it.
        """
        promised = not self._line and self._inside + self._promised < self._at_once
        self._promised += promised
        try:
            yield promised
        finally:
            if promised:
                loop = asyncio.get_running_loop()
                loop.call_soon(loop.call_soon, self._withdraw)

    @asynccontextmanager
    async def entered(self, promised: bool = False) -> AsyncIterator[None]:
        """Wait for one's turn, unless a place is promised. Raises `Overloaded` as `check` does."""
        if promised:
            self._inside += 1
        else:
            self.check()
            await self._enter()
        began = self._clock()
        try:
            yield
        finally:
            self._mean_s += WEIGHT * (self._clock() - began - self._mean_s)
            self._leave()

    async def _enter(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._let_in()
        if turn.done():
            return
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._line.remove(turn)
            raise

    def _withdraw(self) -> None:
        self._promised -= 1
        self._let_in()

    def _leave(self) -> None:
        self._inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        """Hand the places that are neither taken nor promised to the first in line."""
        while self._line and self._inside + self._promised < self._at_once:
            turn = self._line.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
