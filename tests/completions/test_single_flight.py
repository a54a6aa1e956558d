"""Calls shared by all who wait: one call, told to each from the start, given up when the last has left."""

from __future__ import annotations

import asyncio

import pytest

from app.completions.single_flight import InFlightCall, SingleFlight
from app.errors import BackendError, BackendUnavailable


class Call:
    """Says a, b and c as it is let, then gives a number or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go = asyncio.Semaphore(0)
        self.error = error
        self.calls = self.cleaned = 0

    async def __call__(self, flight: InFlightCall[int]) -> int:
        self.calls += 1
        try:
            for text in "abc":
                await self.go.acquire()
                flight.tell(text)
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


async def nobody() -> None:
    """Nobody elsewhere waits."""


async def somebody() -> None:
    await asyncio.Event().wait()


async def listen(flight: InFlightCall[int]) -> tuple[str, int]:
    async with flight.joined():
        said = "".join([text async for text in flight.texts()])
        return said, await flight.result()


async def test_all_hear_everything_from_the_start_whenever_they_come() -> None:
    call = Call()
    flight = InFlightCall(call, nobody)
    first = asyncio.create_task(listen(flight))
    call.let(2)
    await asyncio.sleep(0.01)
    second = asyncio.create_task(listen(flight))
    await asyncio.sleep(0.01)
    call.let(1)
    assert list(await asyncio.gather(first, second)) == [("abc", 7)] * 2
    assert call.calls == 1
    assert await listen(flight) == ("abc", 7)


async def test_a_failure_is_everybody_s() -> None:
    call = Call(BackendError("failed"))
    flight = InFlightCall(call, nobody)
    call.let(3)
    for outcome in await asyncio.gather(listen(flight), listen(flight), return_exceptions=True):
        assert isinstance(outcome, BackendError)


async def test_the_call_lives_while_anyone_waits_and_no_longer() -> None:
    call = Call()
    flight = InFlightCall(call, nobody)
    listeners = [asyncio.create_task(listen(flight)) for _ in range(2)]
    await asyncio.sleep(0.01)
    listeners[0].cancel()
    await asyncio.wait(listeners[:1])
    assert not flight.given_up
    listeners[1].cancel()
    await asyncio.wait(listeners)
    with pytest.raises(BackendUnavailable):
        await flight.result()
    assert flight.given_up
    assert call.cleaned == 1


async def test_the_call_lives_while_somebody_elsewhere_waits() -> None:
    call = Call()
    flight = InFlightCall(call, somebody)
    listener = asyncio.create_task(listen(flight))
    await asyncio.sleep(0.01)
    listener.cancel()
    await asyncio.wait((listener,))
    call.let(3)
    assert await flight.result() == 7


async def test_one_who_comes_while_elsewhere_is_asked_keeps_the_call() -> None:
    asked, told = asyncio.Event(), asyncio.Event()

    async def elsewhere() -> None:
        asked.set()
        await told.wait()

    call = Call()
    flight = InFlightCall(call, elsewhere)
    leaving = asyncio.create_task(listen(flight))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asked.wait()
    staying = asyncio.create_task(listen(flight))
    await asyncio.sleep(0.01)
    told.set()
    call.let(3)
    assert await staying == ("abc", 7)


async def test_flights_are_found_until_they_end_or_are_given_up() -> None:
    in_flight_calls: SingleFlight[int] = SingleFlight()
    call = Call()
    flight = InFlightCall(call, nobody)
    in_flight_calls.add("same", flight)
    assert in_flight_calls.find("same") is flight
    assert in_flight_calls.find("other") is None
    call.let(3)
    await in_flight_calls.settled()
    assert in_flight_calls.find("same") is None

    given_up = InFlightCall(Call(), nobody)
    in_flight_calls.add("same", given_up)
    listener = asyncio.create_task(listen(given_up))
    await asyncio.sleep(0.01)
    listener.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert given_up.given_up
    assert in_flight_calls.find("same") is None
    await in_flight_calls.settled()
