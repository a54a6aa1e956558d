"""Many questions of one client: some at a time, each failing alone, none faster than the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from app.errors import ConvictionError

Q = TypeVar("Q")
A = TypeVar("A")


async def answers(
    questions: Sequence[Q], ask: Callable[[int, Q], Awaitable[A]], concurrency: int
) -> AsyncGenerator[tuple[int, A | ConvictionError], None]:
    """Each question's place and its answer, or what went wrong with it, as they come.

    `concurrency` are asked at a time, and as many answers wait to be read before no more is asked. Whoever closes the
    iterator early cancels what is under way; anything but a `ConvictionError` ends all of it.
    """
    waiting = iter(list(enumerate(questions)))
    told: asyncio.Queue[tuple[int, A | ConvictionError]] = asyncio.Queue(concurrency)

    async def work() -> None:
        for place, question in waiting:
            try:
                answer: A | ConvictionError = await ask(place, question)
            except ConvictionError as error:
                answer = error
            await told.put((place, answer))

    workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(questions)))]
    try:
        for _ in questions:
            yield await _next(told, workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _next(told: asyncio.Queue[A], workers: Sequence[asyncio.Task[None]]) -> A:
    """What is told next; raises what ended a worker."""
    getting = asyncio.create_task(told.get())
    try:
        while not getting.done():
            running = [worker for worker in workers if not worker.done()]
            await asyncio.wait((getting, *running), return_when=asyncio.FIRST_COMPLETED)
            for worker in workers:
                if worker.done():
                    worker.result()
        return getting.result()
    finally:
        getting.cancel()
