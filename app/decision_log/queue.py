"""The queue of the decision log: answers in the order of their arrival, which are taken in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.auth.principal import Principal
from app.recommendation import Recommendation

CAPACITY = 8192
"""Entries that wait; about 40 MB."""
BATCH = 256
"""Entries of one transaction."""
DELAY_S = 0.05
"""The wait of an entry for others of its batch, if no request waits for it: the thread starts after the answer."""
IDLE_S = 60.0
"""Between batches without entries, which delete expired ones and notice a database that is unavailable."""


@dataclass(frozen=True)
class Pending:
    """An answer to be stored, or a mark in the queue; `stored` is done once it and all before it are stored."""

    answer: Recommendation | None = None
    principal: Principal | None = None
    stored: asyncio.Future[None] | None = None


class Queue:
    """Entries that wait to be stored; `immediate` of them are a batch without delay. Needs a running event loop."""

    def __init__(self, immediate: int) -> None:
        self._entries: deque[Pending] = deque()
        self._immediate = immediate
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._entries)

    @property
    def full(self) -> bool:
        return len(self) >= CAPACITY

    def add(self, entry: Pending) -> None:
        """Append an entry. A batch is due immediately if a request waits for the entry, otherwise soon."""
        self._entries.append(entry)
        if entry.stored is None:
            self._wake_later()
        else:
            self.wake()

    def take(self, most: int = BATCH) -> Sequence[Pending]:
        """Remove and return the oldest entries."""
        return [self._entries.popleft() for _ in range(min(most, len(self)))]

    def wake(self) -> None:
        """Make a batch due, even an empty one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.set()

    async def wait(self) -> None:
        """Return once a batch is due, after `IDLE_S` at the latest."""
        if len(self) >= self._immediate:
            return
        if self._entries:
            self._wake_later()
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await self._due.wait()
        self._due.clear()

    def _wake_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_S, self.wake)


def answers(entries: Iterable[Pending]) -> int:
    """Return the number of answers among entries."""
    return sum(each.answer is not None for each in entries)
