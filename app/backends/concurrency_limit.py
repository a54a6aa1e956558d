"""A limit on the concurrent calls to a backend, with a bounded queue: beyond it, calls are refused immediately."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from anyio import Semaphore, WouldBlock

from app.errors import Overloaded

INITIAL_MEAN_S = 1.0
"""The assumed duration of a call until one has ended."""
WEIGHT = 0.1
"""Of the latest call in the exponential moving average."""


class ConcurrencyLimit:
    """Grants `concurrency` slots, first come, first served; at most `queue_size` callers wait for one."""

    def __init__(self, concurrency: int, queue_size: int, clock: Callable[[], float] = monotonic) -> None:
        self._concurrency, self._queue_size, self._clock = concurrency, queue_size, clock
        self._slots = Semaphore(concurrency, fast_acquire=True)
        self._mean_s = INITIAL_MEAN_S

    @property
    def waiting(self) -> int:
        return self._slots.statistics().tasks_waiting

    @property
    def full(self) -> bool:
        """Whether all slots and all places in the queue are taken."""
        return self._slots.value == 0 and self.waiting >= self._queue_size

    @property
    def half_full(self) -> bool:
        """Whether at least half of the slots are taken."""
        return 2 * self._slots.value <= self._concurrency

    def refusal(self) -> Overloaded:
        """Return the error for a refused call, with the expected time until a slot is free."""
        turns = (self.waiting + 1) / self._concurrency
        return Overloaded("too many requests are waiting for this backend", retry_after=turns * self._mean_s)

    def check(self) -> None:
        """Raise `Overloaded` if the queue is full."""
        if self.full:
            raise self.refusal()

    def reserve(self) -> bool:
        """Take a slot if one is free. The caller passes it on to `acquire`, or calls `release`."""
        try:
            self._slots.acquire_nowait()
        except WouldBlock:
            return False
        return True

    def release(self) -> None:
        """Return a reserved slot."""
        self._slots.release()

    @asynccontextmanager
    async def acquire(self, reserved: bool = False) -> AsyncIterator[None]:
        """Hold a slot, after waiting for it unless it is reserved. Raises `Overloaded` if the queue is full."""
        if not reserved:
            self.check()
            await self._slots.acquire()
        began = self._clock()
        try:
            yield
        finally:
            self._mean_s += WEIGHT * (self._clock() - began - self._mean_s)
            self.release()
