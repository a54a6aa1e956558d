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
from app.supervisor.service import NotReady, Pauses, Service, described
from tests.supervisor.observing import eventually, gone, log_of

Make = Callable[[str], Program]
QUICK = Pauses(first=0.01, longest=0.04)
FOREVER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def born(log: Path, number: int) -> list[int]:
    """The process of each life so far, if there have been so many."""
    lives = log.read_text().split() if log.exists() else []
    return [int(pid) for pid in lives] if len(lives) >= number else []


async def pids(program: Program, number: int) -> list[int]:
    return await eventually(lambda: born(log_of(program), number))


async def concurrency() -> None:
    return


def test_pauses_double_up_to_the_longest() -> None:
    pauses, pause, seen = Pauses(), None, []
    for _ in range(8):
        pause = pauses.after(pause, lived=5)
        seen.append(pause)
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60]


def test_pauses_start_again_after_a_long_life() -> None:
    assert Pauses().after(32, lived=121) == 1


async def test_it_is_started_again_whenever_it_dies(program: Make) -> None:
    toy, lines = program(FOREVER), list[str]()

    async def become_ready() -> None:
        await pids(toy, next(lives))

    lives = count(1)
    async with Service(lambda: toy, become_ready, lines.append, QUICK).running():
        for number in (1, 2, 3):
            os.kill((await pids(toy, number))[-1], signal.SIGKILL)
        last = (await pids(toy, 4))[-1]
        await eventually(lambda: "toy is back" in lines[-1])
    assert next(line for line in lines if "killed" in line) == (
        f"toy was killed (SIGKILL); starting it again in 0.01 s; its log is {toy.log}"
    )
    assert gone(last)


async def test_it_gives_up_on_what_never_becomes_ready(program: Make) -> None:
    async def never() -> None:
        await asyncio.sleep(60)

    lines = list[str]()
    service = Service(lambda: program("raise SystemExit(4)"), never, lines.append, QUICK)
    with pytest.raises(CannotStart, match=r"toy ended \(exit status 4\), 3 times in a row before it was ready"):
        async with service.running():
            pytest.fail("was never ready")
    assert len(lines) == 2


async def test_what_takes_too_long_to_be_ready_is_started_again(program: Make) -> None:
    outcomes = iter([NotReady(), NotReady(), None])

    async def become_ready() -> None:
        if outcome := next(outcomes):
            raise outcome

    lines = list[str]()
    async with Service(lambda: program(FOREVER), become_ready, lines.append, QUICK).running():
        assert [line.partition(";")[0] for line in lines] == ["toy was not ready in time"] * 2


async def test_what_cannot_be_mended_by_a_restart_ends_it(program: Make) -> None:
    async def wrong() -> None:
        raise ValueError("wrong answers")

    with pytest.raises(ValueError, match="wrong answers"):
        async with Service(lambda: program(FOREVER), wrong, print, QUICK).running():
            pytest.fail("was never ready")


async def test_trouble_at_a_later_start_is_told_by_its_task(program: Make) -> None:
    toy = program(FOREVER)
    programs = iter([toy])

    def make() -> Program:
        try:
            return next(programs)
        except StopIteration:
            raise ValueError("spoilt weights") from None

    async with Service(make, concurrency, lambda _: None, QUICK).running() as task:
        os.kill((await pids(toy, 1))[0], signal.SIGKILL)
        with pytest.raises(ValueError, match="spoilt weights"):
            await task


async def test_leaving_while_it_loads_stops_it(program: Make) -> None:
    toy = program(FOREVER)

    async def never() -> None:
        await asyncio.sleep(60)

    async def wait_for_it() -> None:
        async with Service(lambda: toy, never, print, QUICK).running():
            pytest.fail("was never ready")

    waiting = asyncio.create_task(wait_for_it())
    [pid] = await pids(toy, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gone(pid)


def test_how_it_ended() -> None:
    assert described(0) == "ended (exit status 0)"
    assert described(-9) == "was killed (SIGKILL)"
    assert described(None) == "was not ready in time"
