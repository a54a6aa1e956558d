"""Deadlines: how long is left, and what happens to what runs past one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from app.deadline import Deadline
from app.errors import DeadlineExceeded


def test_time_runs_out() -> None:
    deadline = Deadline.after(0.05)
    assert not deadline.passed
    assert 0 < deadline.left() <= 0.05
    time.sleep(0.06)
    assert deadline.passed
    assert deadline.left() == 0
    assert deadline.seconds == 0.05


async def test_work_past_the_deadline_is_cancelled() -> None:
    ended = False
    with pytest.raises(DeadlineExceeded, match="too slow"):
        async with Deadline.after(0.02).limit("too slow"):
            try:
                await asyncio.sleep(30)
            finally:
                ended = True
    assert ended


async def test_a_time_out_of_something_else_is_not_the_deadline_s() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline.after(30).limit("too slow"):
            raise TimeoutError


async def test_a_cancellation_stays_one() -> None:
    async def wait() -> None:
        async with Deadline.after(30).limit("too slow"):
            await asyncio.sleep(30)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_items_are_passed_on_and_the_wait_for_each_is_limited() -> None:
    left = asyncio.Event()

    async def tell() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
            await asyncio.sleep(30)
        finally:
            left.set()

    received = []
    with pytest.raises(DeadlineExceeded, match="too late"):
        async for number in Deadline.after(0.1).each(tell(), "too late"):
            received.append(number)
            await asyncio.sleep(0.1)  # what is done with it may take longer than the deadline
    assert (received, left.is_set()) == ([1, 2], True)


async def test_an_iterator_that_ends_in_time_ends() -> None:
    async def tell() -> AsyncGenerator[int, None]:
        yield 1

    assert [number async for number in Deadline.after(20).each(tell(), "too late")] == [1]
