"""The limit on blocking calls."""

from __future__ import annotations

import time
from threading import Event

import pytest

from app.market.deadline import MAX_CALLS, within


def test_answers_and_errors_come_through() -> None:
    assert within(1, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 / 0)


def test_late_calls_are_given_up_and_do_not_pile_up() -> None:
    release = Event()
    started = time.monotonic()
    for _ in range(MAX_CALLS):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
            within(0.01, release.wait)
    with pytest.raises(TimeoutError, match="too many calls"):
        within(0.01, lambda: 42)
    assert time.monotonic() - started < 2
    release.set()
    assert within(2, lambda: 42) == 42
