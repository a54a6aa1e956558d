"""Detection of overload, and the count of requests refused for it."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from app.serving.loop_lag import HOLD_S, LAG_LIMIT_S, PROBE_INTERVAL_S, SUSTAINED_S, LoopLag
from app.telemetry.metrics import Collectors

LATE = 2 * LAG_LIMIT_S


def test_a_burst_is_no_overload_and_sustained_lag_is() -> None:
    lag = LoopLag()
    for now, high in ((0.0, False), (SUSTAINED_S / 2, False), (SUSTAINED_S, True), (SUSTAINED_S + 0.01, True)):
        lag.observe(now, LATE)
        assert lag.high is high
    lag.observe(SUSTAINED_S + 0.02, 0.0)
    assert not lag.high


def test_a_punctual_probe_restarts_the_count() -> None:
    lag = LoopLag()
    for number, late in enumerate((LATE, 0.0, LATE, 0.0, LATE)):
        lag.observe(SUSTAINED_S * number, late)
        assert not lag.high


def test_after_overload_one_late_probe_is_enough_for_a_while() -> None:
    lag = LoopLag()
    for after, late, high in (
        (0.0, LATE, True),
        (0.1, 0.0, False),
        (0.2, LATE, True),
        (0.3, 0.0, False),
        (0.2 + HOLD_S, LATE, False),
        (0.3 + HOLD_S, 0.0, False),
    ):
        if after == 0.0:
            lag.observe(0.0, LATE)
        lag.observe(SUSTAINED_S + after, late)
        assert lag.high is high, after


@given(st.lists(st.floats(0, LAG_LIMIT_S), max_size=50))
def test_a_punctual_loop_is_never_overloaded(lateness: list[float]) -> None:
    lag = LoopLag()
    for number, late in enumerate(lateness):
        lag.observe(PROBE_INTERVAL_S * number, late)
        assert not lag.high


async def test_a_busy_loop_is_detected_and_refusals_are_counted() -> None:
    lag, collectors, detected = LoopLag(), Collectors(), False
    with lag.monitoring(collectors):
        for _ in range(200):
            time.sleep(3 * (LAG_LIMIT_S + PROBE_INTERVAL_S))  # noqa: ASYNC251 - to keep the loop busy is the point
            await asyncio.sleep(0)
            detected = detected or lag.high
            if detected:
                break
        lag.refused += 3
    assert detected
    assert (
        collectors.registry.get_sample_value("conviction_limited_total", {"scope": "gateway", "reason": "processor"})
        == 3
    )
    assert lag.refused == 0
