"""When the processor is taken not to keep up, and that what was refused for it is counted."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from app.serving.loop_lag import HELD_S, LATE_S, LOOK_S, SUSTAINED_S, LoopLag
from app.telemetry.metrics import Collectors

LATE = 2 * LATE_S


def test_a_burst_is_not_too_much_and_what_does_not_end_is() -> None:
    lag = LoopLag()
    for now, high in ((0.0, False), (SUSTAINED_S / 2, False), (SUSTAINED_S, True), (SUSTAINED_S + 0.01, True)):
        lag.look(now, LATE)
        assert lag.high is high
    lag.look(SUSTAINED_S + 0.02, 0.0)
    assert not lag.high


def test_a_look_in_time_begins_the_counting_anew() -> None:
    lag = LoopLag()
    for number, late in enumerate((LATE, 0.0, LATE, 0.0, LATE)):
        lag.look(SUSTAINED_S * number, late)
        assert not lag.high


def test_for_a_while_after_it_was_high_one_late_look_is_enough() -> None:
    lag = LoopLag()
    for after, late, high in (
        (0.0, LATE, True),
        (0.1, 0.0, False),
        (0.2, LATE, True),
        (0.3, 0.0, False),
        (0.2 + HELD_S, LATE, False),
        (0.3 + HELD_S, 0.0, False),
    ):
        if after == 0.0:
            lag.look(0.0, LATE)
        lag.look(SUSTAINED_S + after, late)
        assert lag.high is high, after


@given(st.lists(st.floats(0, LATE_S), max_size=50))
def test_a_loop_that_is_in_time_is_never_under_pressure(lateness: list[float]) -> None:
    lag = LoopLag()
    for number, late in enumerate(lateness):
        lag.look(LOOK_S * number, late)
        assert not lag.high


async def test_a_loop_that_is_kept_busy_is_found_out_and_its_refusals_are_counted() -> None:
    lag, collectors, seen = LoopLag(), Collectors(), False
    with lag.watched(collectors):
        for _ in range(200):
            time.sleep(3 * (LATE_S + LOOK_S))  # noqa: ASYNC251 - to keep the loop busy is the point
            await asyncio.sleep(0)
            seen = seen or lag.high
            if seen:
                break
        lag.refused += 3
    assert seen
    assert (
        collectors.registry.get_sample_value("conviction_limited_total", {"scope": "gateway", "reason": "processor"})
        == 3
    )
    assert lag.refused == 0
