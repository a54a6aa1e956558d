from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.labeling.rate_limiter import MAX_BACKOFF_S, RateLimiter, retry_after, seconds


class Clock:
    """A clock that advances during sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, pause: float) -> None:
        self.now += pause


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pace(clock: Clock) -> RateLimiter:
    return RateLimiter(clock, clock.sleep, jitter=lambda: 1.0)


async def test_nothing_waits_while_nothing_is_asked_for(clock: Clock) -> None:
    gate = pace(clock)
    gate.record_answer({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"})
    await gate.wait()
    assert clock.now == 0


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "1", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12),
    ],
)
async def test_a_refusal_holds_all_calls_back_for_as_long_as_it_says(
    clock: Clock, headers: dict[str, str], least: float
) -> None:
    gate = pace(clock)
    assert gate.record_refusal(headers, 0) == pytest.approx(least)
    await gate.wait()
    assert least <= clock.now <= least + 0.5


async def test_a_limit_used_up_by_an_answer_holds_back_too(clock: Clock) -> None:
    gate = pace(clock)
    gate.record_answer({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2s"})
    await gate.wait()
    assert clock.now >= 2


def test_without_headers_the_pauses_grow_up_to_a_minute(clock: Clock) -> None:
    pauses = [pace(clock).record_refusal({}, attempt) for attempt in range(10)]
    assert pauses[:3] == [0.5, 1, 2]
    assert pauses[-1] == MAX_BACKOFF_S


@given(st.integers(0, 9), st.floats(0, 1))
def test_jitter_only_shortens(attempt: int, jitter: float) -> None:
    clock = Clock()
    assert (
        0
        <= RateLimiter(clock, clock.sleep, lambda: jitter).record_refusal({}, attempt)
        <= min(MAX_BACKOFF_S, 0.5 * 2**attempt)
    )


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_spans_are_read(hours: int, minutes: int, left: int) -> None:
    assert seconds(f"{hours}h{minutes}m{left}s") == 3600 * hours + 60 * minutes + left


@pytest.mark.parametrize("text", ["", "soon", "5", "1s later", "-1s"])
def test_what_is_no_span_is_none(text: str) -> None:
    assert seconds(text) == 0


def test_a_date_is_read() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after({"retry-after": moment}) == pytest.approx(60, abs=5)
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
