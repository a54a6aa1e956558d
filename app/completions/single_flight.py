"""Calls in flight in this process, each shared by all requests here that wait for the same result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from app.errors import BackendUnavailable

T = TypeVar("T")


class InFlightCall(Generic[T]):
    """A call, the text it has written so far, its result, and the number of its waiters.

    The call is cancelled when its last waiter in this process has left and `unfollowed` has returned, which it does
    when no other process waits for the call.
    """

    def __init__(
        self, work: Callable[[InFlightCall[T]], Coroutine[Any, Any, T]], unfollowed: Callable[[], Awaitable[None]]
    ) -> None:
        self.pieces: list[str] = []
        self.delivered = False
        """Whether a waiter has received text, so that the call cannot be repeated unnoticed."""
        self.waiters = 0
        self.cancelled = False
        self._unfollowed = unfollowed
        self._changed = asyncio.Event()
        self._cancelling: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(work(self))
        self._task.add_done_callback(self._finished)

    def restart(self) -> None:
        """Discard the text written so far."""
        self.pieces.clear()

    def write(self, text: str) -> None:
        """Pass a piece of text to all waiters."""
        self.pieces.append(text)
        self._notify()

    async def texts(self) -> AsyncGenerator[str, None]:
        """Yield the pieces of text from the first on, until the call ends."""
        index = 0
        while True:
            changed = self._changed
            while index < len(self.pieces):
                self.delivered = True
                yield self.pieces[index]
                index += 1
            if self._task.done():
                return
            await changed.wait()

    async def result(self) -> T:
        """Return the call's result; cancelling the caller does not cancel the call."""
        await asyncio.wait((self._task,))
        if self._task.cancelled():
            raise BackendUnavailable("the call was cancelled: the gateway is stopping")
        return self._task.result()

    @asynccontextmanager
    async def join(self) -> AsyncIterator[None]:
        """Count as a waiter."""
        self.waiters += 1
        try:
            yield
        finally:
            self.waiters -= 1
            if not self.waiters and not self._task.done() and self._cancelling is None:
                self._cancelling = asyncio.create_task(self._cancel_when_unfollowed())

    async def _cancel_when_unfollowed(self) -> None:
        unfollowed = asyncio.ensure_future(self._unfollowed())
        await asyncio.wait((unfollowed, self._task), return_when=asyncio.FIRST_COMPLETED)
        unfollowed.cancel()
        self._cancelling = None
        if not self.waiters and not self._task.done():
            self.cancelled = True
            self._task.cancel()

    def _finished(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class SingleFlight(Generic[T]):
    """The calls in flight by key."""

    def __init__(self) -> None:
        self._calls: dict[str, InFlightCall[T]] = {}
        self._running: set[InFlightCall[T]] = set()
        """Also those whose key another call has taken over, because they were cancelled."""

    def get(self, key: str) -> InFlightCall[T] | None:
        """Return the call in flight with the key, unless it is being cancelled."""
        call = self._calls.get(key)
        return None if call is None or call.cancelled else call

    def add(self, key: str, call: InFlightCall[T]) -> None:
        """Register the call under the key until it ends."""
        self._calls[key] = call
        self._running.add(call)
        call._task.add_done_callback(lambda _: self._remove(key, call))

    def _remove(self, key: str, call: InFlightCall[T]) -> None:
        self._running.discard(call)
        if self._calls.get(key) is call:
            del self._calls[key]

    async def wait_idle(self) -> None:
        """Return once no call is in flight."""
        while self._running:
            await asyncio.wait([call._task for call in self._running])
