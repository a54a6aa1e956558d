"""The stopwatch: own time is what was not spent waiting."""

from __future__ import annotations

import time

import pytest

from app.telemetry.request_timer import RequestTimer


def test_waiting_is_not_own_time() -> None:
    watch = RequestTimer()
    with watch.waiting():
        time.sleep(0.05)
    total, own = watch.read()
    assert total >= 0.05
    assert 0 <= own < 0.04


def test_waiting_that_fails_counts_too() -> None:
    watch = RequestTimer()
    with pytest.raises(RuntimeError), watch.waiting():
        time.sleep(0.05)
        raise RuntimeError
    assert watch.read()[1] < 0.04
