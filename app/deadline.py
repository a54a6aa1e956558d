"""When a request must have been answered: one moment, carried through every wait on the way."""

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
    """`seconds` are what was allowed, for messages; `at` is the moment itself on the monotonic clock."""

    seconds: float
    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        return cls(seconds, monotonic() + seconds)

    def left(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self.at - monotonic())

    @property
    def passed(self) -> bool:
        return monotonic() >= self.at

    @asynccontextmanager
    async def limit(self, detail: str) -> AsyncIterator[None]:
        """Ends what runs inside once the moment comes, with `DeadlineExceeded(detail)`."""
        scope = asyncio.timeout(self.left())
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise DeadlineExceeded(detail) from None

    async def each(self, told: AsyncIterator[T], detail: str) -> AsyncGenerator[T, None]:
        """What is told, as it comes. The waiting for it is limited, and not what is done with it meanwhile."""
        while True:
            async with self.limit(detail):
                try:
                    piece = await anext(told)
                except StopAsyncIteration:
                    return
            yield piece
