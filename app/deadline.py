"""The time by which a request must be answered: one deadline, shared by every wait on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Self, TypeVar

from app.errors import DeadlineExceeded

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """A point on the monotonic clock (`at`), and the timeout in `seconds` it was computed from, for messages."""

    seconds: float
    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        return cls(seconds, monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds until the deadline, 0 once it has passed."""
        return max(0.0, self.at - monotonic())

    def part(self, share: float) -> Self:
        """Return the deadline after a share of the time that is left."""
        return type(self).after(share * self.left())

    @property
    def passed(self) -> bool:
        return monotonic() >= self.at

    @asynccontextmanager
    async def limit(self, detail: str) -> AsyncIterator[None]:
        """Cancel the body at the deadline and raise `DeadlineExceeded(detail)`."""
        scope = asyncio.timeout(self.left())
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise DeadlineExceeded(detail) from None

    async def each(self, items: AsyncIterator[T], detail: str) -> AsyncGenerator[T, None]:
        """Yield the items as they arrive. The deadline limits the wait for an item, not the work of the consumer."""
        while True:
            async with self.limit(detail):
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item
