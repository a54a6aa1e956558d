"""Concurrent processing of a batch: items fail alone, and a slow reader slows the batch down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from app.errors import ConvictionError

Q = TypeVar("Q")
A = TypeVar("A")


async def run_batch(
    questions: Sequence[Q], ask: Callable[[int, Q], Awaitable[A]], concurrency: int
) -> AsyncGenerator[tuple[int, A | ConvictionError], None]:
    """Yield the index of each question and its answer or error, in the order of completion.

    At most `concurrency` questions are in progress, and as many answers are buffered for the reader. Closing the
    iterator cancels the questions in progress; an exception other than `ConvictionError` ends the batch.
    """
    remaining = iter(list(enumerate(questions)))
    results: asyncio.Queue[tuple[int, A | ConvictionError]] = asyncio.Queue(concurrency)

    async def work() -> None:
        for index, question in remaining:
            try:
                answer: A | ConvictionError = await ask(index, question)
            except ConvictionError as error:
                answer = error
            await results.put((index, answer))

    workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(questions)))]
    try:
        for _ in questions:
            yield await _next(results, workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _next(results: asyncio.Queue[A], workers: Sequence[asyncio.Task[None]]) -> A:
    """Return the next result, or raise the exception that ended a worker."""
    getting = asyncio.create_task(results.get())
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
