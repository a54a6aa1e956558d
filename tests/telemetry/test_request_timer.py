"""The gateway's own time is a request's time without waiting."""

from __future__ import annotations

import time

from app.telemetry.request_timer import RequestTimer


def test_waiting_is_not_own_time() -> None:
    timer = RequestTimer()
    with timer.waiting():
        time.sleep(0.05)
    total, own = timer.read()
    assert total >= 0.05
    assert 0 <= own < 0.04
