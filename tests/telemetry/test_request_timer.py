"""The gateway's own time is a request's time without waiting."""

from __future__ import annotations

import time

import pytest

from app.telemetry.request_timer import RequestTimer


def test_waiting_is_not_own_time() -> None:
    timer = RequestTimer()
    with timer.waiting():
        time.sleep(0.05)
    total, own = timer.read()
    assert total >= 0.05
    assert 0 <= own < 0.04


def test_waiting_that_raises_is_counted() -> None:
    timer = RequestTimer()
    with pytest.raises(RuntimeError), timer.waiting():
        time.sleep(0.05)
        raise RuntimeError
    assert timer.read()[1] < 0.04
