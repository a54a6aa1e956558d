"""Calls under way in this process, each shared by everybody here who waits for the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from app.errors import BackendUnavailable

T = TypeVar("T")


class InFlightCall(Generic[T]):
    """One call: what it has said so far, what comes of it, and how many wait for that.

    It lives while anyone waits: once the last one here has left, until `deserted` says that nobody elsewhere waits.
    """

    def __init__(
        self, work: Callable[[InFlightCall[T]], Coroutine[Any, Any, T]], deserted: Callable[[], Awaitable[None]]
    ) -> None:
        self.told: list[str] = []
        self.heard = False
        """Whether a part of the answer has been passed on, so that it cannot be taken back."""
        self.waiting = 0
        self.given_up = False
        self._deserted = deserted
        self._news = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(work(self))
        self._task.add_done_callback(self._landed)

    def again(self) -> None:
        """Forget what was said: the answer begins anew."""
        self.told.clear()

    def tell(self, text: str) -> None:
        """Pass a piece of the answer on to all who wait."""
        self.told.append(text)
        self._wake()

    async def texts(self) -> AsyncGenerator[str, None]:
        """The pieces of the answer, from the first on, until the call has ended."""
        place = 0
        while True:
            news = self._news
            while place < len(self.told):
                self.heard = True
                yield self.told[place]
                place += 1
            if self._task.done():
                return
            await news.wait()

    async def result(self) -> T:
        """What comes of the call; a caller that is cancelled leaves it to the others."""
        await asyncio.wait((self._task,))
        if self._task.cancelled():
            raise BackendUnavailable("the call was given up: the gateway stops")
        return self._task.result()

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Counts one who waits."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
            if not self.waiting and not self._task.done() and self._ending is None:
                self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """Give the call up once nobody waits for it, unless somebody comes or it ends by itself."""
        deserted = asyncio.ensure_future(self._deserted())
        await asyncio.wait((deserted, self._task), return_when=asyncio.FIRST_COMPLETED)
        deserted.cancel()
        self._ending = None
        if not self.waiting and not self._task.done():
            self.given_up = True
            self._task.cancel()

    def _landed(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class SingleFlight(Generic[T]):
    """The calls under way by what they answer."""

    def __init__(self) -> None:
        self._under_way: dict[str, InFlightCall[T]] = {}

    def find(self, key: str) -> InFlightCall[T] | None:
        """The call that is under way here for the same answer, and not just being given up."""
        flight = self._under_way.get(key)
        return None if flight is None or flight.given_up else flight

    def add(self, key: str, flight: InFlightCall[T]) -> None:
        """Let others find the call until it ends."""
        self._under_way[key] = flight
        flight._task.add_done_callback(lambda _: self._forget(key, flight))

    def _forget(self, key: str, flight: InFlightCall[T]) -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]

    async def settled(self) -> None:
        """Return once no call is under way."""
        while self._under_way:
            await asyncio.wait([flight._task for flight in self._under_way.values()])
