"""The stopwatch: own time is what was not spent waiting."""

from __future__ import annotations

import time

from app.telemetry.request_timer import RequestTimer


def test_waiting_is_not_own_time() -> None:
    watch = RequestTimer()
    with watch.waiting():
        time.sleep(0.05)
    total, own = watch.read()
    assert total >= 0.05
    assert 0 <= own < 0.04
