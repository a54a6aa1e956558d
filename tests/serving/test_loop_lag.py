"""Detection of overload, and the count of requests refused for it."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving import loop_lag
from app.serving.loop_lag import HOLD_S, INTERVAL_S, LATE_S, MIN_ACTIVE, PROBE_INTERVAL_S, TARGET_S, LoopLag
from app.telemetry.metrics import Collectors

STANDING = 2 * TARGET_S
LATE = 2 * LATE_S


def busy() -> LoopLag:
    lag = LoopLag()
    lag.active = MIN_ACTIVE + 1
    return lag


def test_a_burst_is_no_overload_and_a_standing_queue_is() -> None:
    lag = busy()
    for now, high in ((0.0, False), (INTERVAL_S / 2, False), (INTERVAL_S, True), (INTERVAL_S + 0.01, True)):
        lag.observe(now, STANDING)
        assert lag.high is high
    lag.observe(INTERVAL_S + 0.02, 0.0)
    assert not lag.high


def test_a_probe_below_the_target_restarts_the_interval() -> None:
    lag = busy()
    for number, late in enumerate((STANDING, LATE, STANDING, TARGET_S, STANDING)):
        lag.observe(INTERVAL_S * number, late)
        assert not lag.high


def test_after_overload_one_late_probe_is_enough_for_a_while() -> None:
    lag = busy()
    lag.observe(0.0, STANDING)
    for after, late, high in (
        (0.0, STANDING, True),
        (0.1, 0.0, False),
        (0.2, LATE, True),
        (0.3, 0.0, False),
        (0.2 + HOLD_S, LATE, False),
        (0.3 + HOLD_S, 0.0, False),
    ):
        lag.observe(INTERVAL_S + after, late)
        assert lag.high is high, after


@given(st.lists(st.floats(0, 60), max_size=50))
def test_few_requests_are_no_overload_however_late_the_loop(lags: list[float]) -> None:
    """Other processes may delay the gateway."""
    lag = LoopLag()
    lag.active = MIN_ACTIVE
    for number, late in enumerate(lags):
        lag.observe(PROBE_INTERVAL_S * number, late)
        assert not lag.high


@given(st.lists(st.floats(0, TARGET_S), max_size=500))
def test_a_lag_below_the_target_is_no_overload(lags: list[float]) -> None:
    lag = busy()
    for number, late in enumerate(lags):
        lag.observe(PROBE_INTERVAL_S * number, late)
        assert not lag.high


async def test_a_busy_loop_is_detected_and_refusals_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "TARGET_S", 0.01)
    monkeypatch.setattr(loop_lag, "INTERVAL_S", 0.1)
    lag, collectors, detected = busy(), Collectors(), False
    with lag.monitoring(collectors):
        for _ in range(200):
            time.sleep(0.03)  # noqa: ASYNC251 - to keep the loop busy is the point
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
