"""A bounded number of concurrent callers and a bounded queue; the rest are refused."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.concurrency_limit import ConcurrencyLimit
from app.errors import Overloaded


class Caller:
    """Holds a slot until `go` or `leave`."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.inside = False
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._call(limit))

    async def _call(self, limit: ConcurrencyLimit) -> None:
        async with limit.acquire():
            self.inside = True
            try:
                await self._go.wait()
            finally:
                self.inside = False

    async def go(self) -> None:
        self._go.set()
        await asyncio.wait((self.task,))

    async def leave(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def test_first_come_first_served_and_the_rest_refused() -> None:
    limit = ConcurrencyLimit(concurrency=2, queue_size=1)
    callers = [Caller(limit) for _ in range(4)]
    await asyncio.sleep(0)
    assert [caller.inside for caller in callers] == [True, True, False, False]
    assert limit.waiting == 1
    with pytest.raises(Overloaded):
        await callers[3].task
    with pytest.raises(Overloaded):
        limit.check()
    await callers[0].go()
    await asyncio.sleep(0)
    assert callers[2].inside
    limit.check()
    for caller in callers[1:3]:
        await caller.go()


async def test_a_refusal_has_the_expected_wait() -> None:
    now = [0.0]
    limit = ConcurrencyLimit(concurrency=2, queue_size=3, clock=lambda: now[0])
    for _ in range(200):
        async with limit.acquire():
            now[0] += 4.0
    callers = [Caller(limit) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        limit.check()
    assert refused.value.retry_after == pytest.approx(2 * 4.0, rel=0.01)  # four turns, two at a time
    for caller in callers:
        await caller.leave()


async def test_no_more_slots_are_reserved_than_there_are() -> None:
    limit = ConcurrencyLimit(concurrency=2, queue_size=0)
    assert [limit.reserve() for _ in range(3)] == [True, True, False]
    assert limit.full
    limit.release()
    async with limit.acquire():
        assert not limit.reserve()
        with pytest.raises(Overloaded):
            async with limit.acquire():
                pass
    limit.release()
    assert [limit.reserve() for _ in range(3)] == [True, True, False]


async def test_a_reserved_slot_is_used_ahead_of_the_queue_and_returned_at_the_end() -> None:
    """Two callers hold reservations; the others arrive later and run after them, in order of arrival."""
    limit, done, order = ConcurrencyLimit(concurrency=2, queue_size=5), asyncio.Event(), list[int]()

    async def call(number: int, reserved: bool) -> None:
        async with limit.acquire(reserved):
            order.append(number)
            await done.wait()

    reservations = [limit.reserve() for _ in range(4)]
    assert reservations == [True, True, False, False]
    calls = [asyncio.create_task(call(number, reservations[number])) for number in (2, 3, 0, 1)]
    await asyncio.sleep(0.01)
    assert order == [0, 1]
    assert limit.waiting == 2
    assert not limit.reserve()
    done.set()
    await asyncio.gather(*calls)
    assert order == [0, 1, 2, 3]


async def test_a_reserved_slot_that_is_released_goes_to_the_next_in_the_queue() -> None:
    limit = ConcurrencyLimit(concurrency=1, queue_size=1)
    assert limit.reserve()
    caller = Caller(limit)
    await asyncio.sleep(0)
    assert (caller.inside, limit.waiting) == (False, 1)
    limit.release()
    await asyncio.sleep(0.01)
    assert (caller.inside, limit.waiting) == (True, 0)
    await caller.leave()


async def test_a_caller_cancelled_while_it_is_granted_a_slot_passes_it_on() -> None:
    limit = ConcurrencyLimit(concurrency=1, queue_size=2)
    assert limit.reserve()
    first, second = Caller(limit), Caller(limit)
    await asyncio.sleep(0)
    limit.release()
    await first.leave()
    await asyncio.sleep(0.01)
    assert (first.inside, second.inside) == (False, True)
    await second.leave()
    assert limit.reserve()


@given(st.lists(st.tuples(st.sampled_from(["come", "go", "leave"]), st.integers(0, 9)), max_size=60))
def test_no_slot_is_lost_or_granted_twice(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        limit, callers = ConcurrencyLimit(concurrency=2, queue_size=2), list[Caller]()
        for step, which in steps:
            if step == "come":
                callers.append(Caller(limit))
            elif callers:
                caller = callers.pop(which % len(callers))
                await (caller.go() if step == "go" and caller.inside else caller.leave())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            callers = [caller for caller in callers if not caller.task.done()]
            inside = sum(caller.inside for caller in callers)
            assert inside == min(2, len(callers))
            assert limit.waiting == len(callers) - inside
        for caller in callers:
            await caller.leave()
        async with limit.acquire(), limit.acquire():
            pass

    asyncio.run(play())


async def test_it_is_half_full_when_half_of_its_slots_are_taken() -> None:
    limit = ConcurrencyLimit(3, 1)
    states = [limit.half_full]
    async with limit.acquire():
        states.append(limit.half_full)
        async with limit.acquire():
            states.append(limit.half_full)
    assert [*states, limit.half_full] == [False, False, True, False]
