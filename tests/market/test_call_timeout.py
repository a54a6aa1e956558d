"""The time limit of blocking calls."""

from __future__ import annotations

import time
from threading import Event

import pytest

from app.market.call_timeout import MAX_CALLS, call_with_timeout


def test_answers_and_errors_come_through() -> None:
    assert call_with_timeout(1, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(1, lambda: 1 / 0)


def test_late_calls_are_abandoned_and_do_not_accumulate() -> None:
    release = Event()
    started = time.monotonic()
    for _ in range(MAX_CALLS):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
            call_with_timeout(0.01, release.wait)
    with pytest.raises(TimeoutError, match="too many calls"):
        call_with_timeout(0.01, lambda: 42)
    assert time.monotonic() - started < 2
    release.set()
    assert call_with_timeout(2, lambda: 42) == 42
