from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from app.supervisor.failures import CannotStart
from app.supervisor.process import Program
from app.supervisor.service import Backoff, NotReady, Service, describe_exit
from tests.supervisor.observing import eventually, gone, log_of

Make = Callable[[str], Program]
QUICK = Backoff(initial=0.01, maximum=0.04)
FOREVER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def started(log: Path, number: int) -> list[int]:
    """Return the process ids of all starts once there are `number` of them."""
    ids = log.read_text().split() if log.exists() else []
    return [int(pid) for pid in ids] if len(ids) >= number else []


async def pids(program: Program, number: int) -> list[int]:
    return await eventually(lambda: started(log_of(program), number))


async def ready_immediately() -> None:
    return


def test_delays_double_up_to_the_maximum() -> None:
    backoff, delay, delays = Backoff(), None, []
    for _ in range(8):
        delay = backoff.next(delay, uptime=5)
        delays.append(delay)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_delays_start_again_after_a_long_run() -> None:
    assert Backoff().next(32, uptime=121) == 1


async def test_it_is_restarted_each_time_it_is_killed(program: Make) -> None:
    toy, lines = program(FOREVER), list[str]()

    async def wait_until_ready() -> None:
        await pids(toy, next(starts))

    starts = count(1)
    async with Service(lambda: toy, wait_until_ready, lines.append, QUICK).running():
        for number in (1, 2, 3):
            os.kill((await pids(toy, number))[-1], signal.SIGKILL)
        last = (await pids(toy, 4))[-1]
        await eventually(lambda: "toy is running again" in lines[-1])
    assert next(line for line in lines if "killed" in line) == (
        f"toy was killed (SIGKILL); starting it again in 0.01 s; its log is {toy.log}"
    )
    assert gone(last)


async def test_a_program_that_is_never_ready_ends_the_service(program: Make) -> None:
    async def never() -> None:
        await asyncio.sleep(60)

    lines = list[str]()
    service = Service(lambda: program("raise SystemExit(4)"), never, lines.append, QUICK)
    with pytest.raises(CannotStart, match=r"toy ended \(exit status 4\), 3 times in a row before it was ready"):
        async with service.running():
            pytest.fail("was never ready")
    assert len(lines) == 2


async def test_a_program_that_is_not_ready_in_time_is_restarted(program: Make) -> None:
    outcomes = iter([NotReady(), NotReady(), None])

    async def wait_until_ready() -> None:
        if outcome := next(outcomes):
            raise outcome

    lines = list[str]()
    async with Service(lambda: program(FOREVER), wait_until_ready, lines.append, QUICK).running():
        assert [line.partition(";")[0] for line in lines] == ["toy was not ready in time"] * 2


async def test_another_error_ends_the_service(program: Make) -> None:
    async def wrong() -> None:
        raise ValueError("wrong answers")

    with pytest.raises(ValueError, match="wrong answers"):
        async with Service(lambda: program(FOREVER), wrong, print, QUICK).running():
            pytest.fail("was never ready")


async def test_an_error_of_a_later_start_is_raised_by_the_task(program: Make) -> None:
    toy = program(FOREVER)
    programs = iter([toy])

    def make() -> Program:
        try:
            return next(programs)
        except StopIteration:
            raise ValueError("corrupted weights") from None

    async with Service(make, ready_immediately, lambda _: None, QUICK).running() as task:
        os.kill((await pids(toy, 1))[0], signal.SIGKILL)
        with pytest.raises(ValueError, match="corrupted weights"):
            await task


async def test_cancelling_while_it_loads_stops_it(program: Make) -> None:
    toy = program(FOREVER)

    async def never() -> None:
        await asyncio.sleep(60)

    async def run_service() -> None:
        async with Service(lambda: toy, never, print, QUICK).running():
            pytest.fail("was never ready")

    waiting = asyncio.create_task(run_service())
    [pid] = await pids(toy, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gone(pid)


def test_exits_are_described() -> None:
    assert describe_exit(0) == "ended (exit status 0)"
    assert describe_exit(-9) == "was killed (SIGKILL)"
    assert describe_exit(None) == "was not ready in time"
