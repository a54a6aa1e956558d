"""Many questions: bounded, in step with the reader, each failing alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.batch_runner import run_batch
from app.errors import BackendError, ConvictionError


class Desk:
    """Answers a number with its square, fails for negative ones; knows how many it was asked at a time."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.asked = self.now = self.most = self.given_up = 0
        self._pause_s = pause_s

    async def __call__(self, place: int, number: int) -> int:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self._pause_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.now -= 1
        if number < 0:
            raise BackendError("negative")
        return number * number


@given(st.lists(st.integers(-5, 5), max_size=60), st.integers(1, 8))
def test_every_place_is_answered_once_and_failures_stay_alone(numbers: list[int], concurrency: int) -> None:
    desk = Desk()

    async def collect() -> list[tuple[int, int | ConvictionError]]:
        return [received async for received in run_batch(numbers, desk, concurrency)]

    received = asyncio.run(collect())
    assert Counter(place for place, _ in received) == Counter(range(len(numbers)))
    for place, answer in received:
        assert isinstance(answer, BackendError) if numbers[place] < 0 else answer == numbers[place] ** 2
    assert desk.most <= concurrency


async def test_a_slow_reader_pauses_the_batch() -> None:
    desk = Desk()
    async with aclosing(run_batch(range(1000), desk, 4)) as received:
        await anext(received)
        for _ in range(50):
            await asyncio.sleep(0)
        assert desk.asked <= 1 + 4 + 4 + 1


async def test_closing_the_iterator_cancels_the_running_items() -> None:
    desk = Desk(pause_s=30)
    reading = asyncio.create_task(anext(run_batch(range(10), desk, 4)))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (desk.now, desk.given_up, desk.asked) == (0, 4, 4)


async def test_a_mistake_of_ours_is_not_swallowed() -> None:
    async def broken(place: int, number: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(anext(run_batch([1, 2], broken, 2)), 5)
