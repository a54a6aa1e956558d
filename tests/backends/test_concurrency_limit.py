"""So many at a time, so many in line, the rest refused at once: whoever leaves, however it leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.concurrency_limit import ConcurrencyLimit
from app.errors import Overloaded


class Caller:
    """Enters, stays until it is let go."""

    def __init__(self, gate: ConcurrencyLimit) -> None:
        self.inside = False
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._call(gate))

    async def _call(self, gate: ConcurrencyLimit) -> None:
        async with gate.entered():
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
    gate = ConcurrencyLimit(concurrency=2, line=1)
    callers = [Caller(gate) for _ in range(4)]
    await asyncio.sleep(0)
    assert [caller.inside for caller in callers] == [True, True, False, False]
    assert gate.waiting == 1
    with pytest.raises(Overloaded):
        await callers[3].task
    with pytest.raises(Overloaded):
        gate.check()
    await callers[0].go()
    await asyncio.sleep(0)
    assert callers[2].inside
    gate.check()
    for caller in callers[1:3]:
        await caller.go()


async def test_the_refusal_says_when_to_come_again() -> None:
    now = [0.0]
    gate = ConcurrencyLimit(concurrency=2, line=3, clock=lambda: now[0])
    for _ in range(200):
        async with gate.entered():
            now[0] += 4.0
    callers = [Caller(gate) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        gate.check()
    assert refused.value.retry_after == pytest.approx(2 * 4.0, rel=0.01)  # four turns, two at a time
    for caller in callers:
        await caller.leave()


async def test_a_place_is_promised_to_no_more_than_there_are() -> None:
    gate = ConcurrencyLimit(concurrency=2, line=0)
    with gate.coming() as first, gate.coming() as second, gate.coming() as third:
        assert (first, second, third) == (True, True, False)
    async with gate.entered():
        await asyncio.sleep(0.01)
        with gate.coming() as first, gate.coming() as second:
            assert (first, second) == (True, False)
        with pytest.raises(ZeroDivisionError), gate.coming():
            raise ZeroDivisionError
    await asyncio.sleep(0.01)
    with gate.coming() as first, gate.coming() as second:
        assert (first, second) == (True, True)


async def test_a_promise_is_kept_until_the_task_takes_its_place() -> None:
    """Among calls whose admissions come back at the same moment, one that comes just then, and one that overtakes."""
    gate, admitted, done = ConcurrencyLimit(concurrency=2, line=5), asyncio.Event(), asyncio.Event()
    promises, early_inside = list[bool](), list[bool]()

    async def call(promised: bool) -> None:
        async with gate.entered(promised):
            early_inside.append(promised)
            await done.wait()

    async def come(admission: asyncio.Event) -> asyncio.Task[None]:
        with gate.coming() as promised:
            promises.append(promised)
            await admission.wait()
        return asyncio.create_task(call(promised))

    early = [asyncio.create_task(come(admitted)) for _ in range(2)]
    await asyncio.sleep(0)
    concurrency = asyncio.Event()
    concurrency.set()
    overtaking = await asyncio.create_task(come(concurrency))
    admitted.set()
    late = asyncio.create_task(come(admitted))
    calls = [overtaking, *await asyncio.gather(*early, late)]
    await asyncio.sleep(0.01)
    assert promises == [True, True, False, False]
    assert early_inside == [True, True]
    assert gate.waiting == 2
    done.set()
    await asyncio.gather(*calls)
    assert early_inside == [True, True, False, False]


async def test_a_place_that_was_promised_and_not_taken_goes_to_the_next_in_line() -> None:
    gate = ConcurrencyLimit(concurrency=1, line=1)
    with gate.coming() as promised:
        caller = Caller(gate)
        await asyncio.sleep(0)
        assert promised
        assert (caller.inside, gate.waiting) == (False, 1)
    await asyncio.sleep(0.01)
    assert (caller.inside, gate.waiting) == (True, 0)
    await caller.leave()


@given(st.lists(st.tuples(st.sampled_from(["come", "go", "leave"]), st.integers(0, 9)), max_size=60))
def test_no_place_is_ever_lost_or_given_twice(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        gate, callers = ConcurrencyLimit(concurrency=2, line=2), list[Caller]()
        for step, which in steps:
            if step == "come":
                callers.append(Caller(gate))
            elif callers:
                caller = callers.pop(which % len(callers))
                await (caller.go() if step == "go" and caller.inside else caller.leave())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            callers = [caller for caller in callers if not caller.task.done()]
            inside = sum(caller.inside for caller in callers)
            assert inside == min(2, len(callers))
            assert gate.waiting == len(callers) - inside
        for caller in callers:
            await caller.leave()
        async with gate.entered(), gate.entered():
            pass

    asyncio.run(play())


async def test_it_is_half_full_when_half_its_places_are_taken() -> None:
    gate = ConcurrencyLimit(3, 1)
    seen = [gate.half_full]
    async with gate.entered():
        seen.append(gate.half_full)
        async with gate.entered():
            seen.append(gate.half_full)
    assert [*seen, gate.half_full] == [False, False, True, False]
