"""Calls shared by their waiters: each gets all text, and the last to leave cancels the call."""

from __future__ import annotations

import asyncio

import pytest

from app.completions.single_flight import InFlightCall, SingleFlight
from app.errors import BackendError, BackendUnavailable


class Call:
    """Writes a, b and c when allowed, then returns a number or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go = asyncio.Semaphore(0)
        self.error = error
        self.calls = self.cleaned = 0

    async def __call__(self, in_flight: InFlightCall[int]) -> int:
        self.calls += 1
        try:
            for text in "abc":
                await self.go.acquire()
                in_flight.write(text)
            if self.error is not None:
                raise self.error
            return 7
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            self.cleaned += 1
            raise

    def let(self, pieces: int) -> None:
        for _ in range(pieces):
            self.go.release()


async def unfollowed() -> None:
    """No other process follows the call."""


async def followed() -> None:
    await asyncio.Event().wait()


async def listen(in_flight: InFlightCall[int]) -> tuple[str, int]:
    async with in_flight.join():
        said = "".join([text async for text in in_flight.texts()])
        return said, await in_flight.result()


async def test_every_waiter_gets_all_text_from_the_start() -> None:
    call = Call()
    in_flight = InFlightCall(call, unfollowed)
    first = asyncio.create_task(listen(in_flight))
    call.let(2)
    await asyncio.sleep(0.01)
    second = asyncio.create_task(listen(in_flight))
    await asyncio.sleep(0.01)
    call.let(1)
    assert list(await asyncio.gather(first, second)) == [("abc", 7)] * 2
    assert call.calls == 1
    assert await listen(in_flight) == ("abc", 7)


async def test_every_waiter_gets_the_failure() -> None:
    call = Call(BackendError("failed"))
    in_flight = InFlightCall(call, unfollowed)
    call.let(3)
    for outcome in await asyncio.gather(listen(in_flight), listen(in_flight), return_exceptions=True):
        assert isinstance(outcome, BackendError)


async def test_the_call_is_cancelled_with_its_last_waiter() -> None:
    call = Call()
    in_flight = InFlightCall(call, unfollowed)
    listeners = [asyncio.create_task(listen(in_flight)) for _ in range(2)]
    await asyncio.sleep(0.01)
    listeners[0].cancel()
    await asyncio.wait(listeners[:1])
    assert not in_flight.cancelled
    listeners[1].cancel()
    await asyncio.wait(listeners)
    with pytest.raises(BackendUnavailable):
        await in_flight.result()
    assert in_flight.cancelled
    assert call.cleaned == 1


async def test_a_call_followed_elsewhere_is_not_cancelled() -> None:
    call = Call()
    in_flight = InFlightCall(call, followed)
    listener = asyncio.create_task(listen(in_flight))
    await asyncio.sleep(0.01)
    listener.cancel()
    await asyncio.wait((listener,))
    call.let(3)
    assert await in_flight.result() == 7


async def test_a_new_waiter_prevents_the_cancellation() -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def elsewhere() -> None:
        asked.set()
        await answered.wait()

    call = Call()
    in_flight = InFlightCall(call, elsewhere)
    leaving = asyncio.create_task(listen(in_flight))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asked.wait()
    staying = asyncio.create_task(listen(in_flight))
    await asyncio.sleep(0.01)
    answered.set()
    call.let(3)
    assert await staying == ("abc", 7)


async def test_calls_are_found_until_they_end_or_are_cancelled() -> None:
    single_flight: SingleFlight[int] = SingleFlight()
    call = Call()
    in_flight = InFlightCall(call, unfollowed)
    single_flight.add("same", in_flight)
    assert single_flight.get("same") is in_flight
    assert single_flight.get("other") is None
    call.let(3)
    await single_flight.wait_idle()
    assert single_flight.get("same") is None

    cancelled = InFlightCall(Call(), unfollowed)
    single_flight.add("same", cancelled)
    listener = asyncio.create_task(listen(cancelled))
    await asyncio.sleep(0.01)
    listener.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert cancelled.cancelled
    assert single_flight.get("same") is None
    await single_flight.wait_idle()


async def test_a_cancelled_call_whose_key_is_taken_over_is_waited_for() -> None:
    single_flight: SingleFlight[int] = SingleFlight()
    old, new = Call(), Call()
    cancelled = InFlightCall(old, unfollowed)
    single_flight.add("same", cancelled)
    listener = asyncio.create_task(listen(cancelled))
    await asyncio.sleep(0)
    listener.cancel()
    while not cancelled.cancelled:  # noqa: ASYNC110
        await asyncio.sleep(0)
    single_flight.add("same", InFlightCall(new, unfollowed))
    new.let(3)
    await single_flight.wait_idle()
    assert old.cleaned == 1
