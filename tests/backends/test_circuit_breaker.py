"""The breaker: when it opens, when it lets one call probe, and what that call decides."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.backends.circuit_breaker import (
    MAX_CONSECUTIVE_FAILURES,
    MAX_WINDOW_FAILURES,
    PAUSE_MAX_S,
    PAUSE_S,
    WINDOW_CALLS,
    CircuitBreaker,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, times: int = MAX_CONSECUTIVE_FAILURES) -> None:
    for _ in range(times):
        breaker.record_failure(breaker.admit())


def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker) -> None:
    fail(breaker, MAX_CONSECUTIVE_FAILURES - 1)
    assert (breaker.state, breaker.retry_in()) == ("closed", 0)
    fail(breaker, 1)
    assert (breaker.state, breaker.retry_in()) == ("open", PAUSE_S)


def test_a_success_ends_the_row(breaker: CircuitBreaker) -> None:
    fail(breaker, MAX_CONSECUTIVE_FAILURES - 1)
    breaker.record_success(breaker.admit())
    fail(breaker, MAX_CONSECUTIVE_FAILURES - 1)
    assert breaker.state == "closed"


def test_it_opens_where_half_of_all_calls_fail(breaker: CircuitBreaker) -> None:
    for _ in range(MAX_WINDOW_FAILURES - 1):
        breaker.record_failure(breaker.admit())
        breaker.record_success(breaker.admit())
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_what_failed_long_ago_is_forgotten(breaker: CircuitBreaker) -> None:
    for _ in range(10 * MAX_WINDOW_FAILURES):
        breaker.record_failure(breaker.admit())
        for _ in range(WINDOW_CALLS // MAX_WINDOW_FAILURES):
            breaker.record_success(breaker.admit())
    assert breaker.state == "closed"


def test_after_the_pause_one_call_probes(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE_S / 2
    assert breaker.retry_in() == pytest.approx(PAUSE_S / 2)
    clock.now += PAUSE_S / 2
    assert (breaker.state, breaker.retry_in()) == ("half_open", 0)
    assert breaker.admit()
    assert breaker.retry_in() > 0
    breaker.record_success(probe=True)
    assert (breaker.state, breaker.retry_in()) == ("closed", 0)
    assert not breaker.admit()


def test_each_failed_probe_doubles_the_pause_up_to_a_limit(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    pauses = []
    for _ in range(8):
        pauses.append(breaker.retry_in())
        clock.now += breaker.retry_in()
        breaker.record_failure(breaker.admit())
    assert pauses == [min(PAUSE_S * 2**n, PAUSE_MAX_S) for n in range(8)]
    clock.now += breaker.retry_in()
    breaker.record_success(breaker.admit())
    fail(breaker)
    assert breaker.retry_in() == PAUSE_S


def test_a_probe_that_was_given_up_leaves_it_to_another(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE_S
    breaker.record_unknown(breaker.admit())
    assert breaker.state == "half_open"
    assert breaker.retry_in() == 0
    assert breaker.admit()


def test_calls_from_before_it_opened_have_no_say(breaker: CircuitBreaker, clock: Clock) -> None:
    old = [breaker.admit() for _ in range(4)]
    fail(breaker)
    clock.now += PAUSE_S
    assert breaker.admit()
    breaker.record_success(old[0])
    breaker.record_failure(old[1])
    breaker.record_unknown(old[2])
    assert breaker.state == "half_open"
    assert breaker.retry_in() > 0


class Calls(RuleBasedStateMachine):
    """Calls begin whenever they may, end in any order, and time passes as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(self.clock)
        self.under_way: list[bool] = []
        self.failed_in_a_row = 0
        self.opened_at = 0.0

    @precondition(lambda self: not self.breaker.retry_in())
    @rule()
    def begin(self) -> None:
        state = self.breaker.state
        probe = self.breaker.admit()
        assert probe == (state == "half_open")
        self.under_way.append(probe)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "failed", "withdrew"]))
    def end(self, data: st.DataObject, how: str) -> None:
        probe = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        was = self.breaker.state
        getattr(self.breaker, how)(probe)
        if was == "closed":
            self.failed_in_a_row = {"succeeded": 0, "failed": self.failed_in_a_row + 1}.get(how, self.failed_in_a_row)
            assert self.failed_in_a_row < MAX_CONSECUTIVE_FAILURES or self.breaker.state == "open"
        elif probe:
            assert self.breaker.state == {"succeeded": "closed", "failed": "open", "withdrew": "half_open"}[how]
        else:
            assert self.breaker.state == was
        if self.breaker.state == "open" and was != "open":
            self.failed_in_a_row = 0
            self.opened_at = self.clock.now

    @rule(seconds=st.floats(0, 2 * PAUSE_MAX_S))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def one_probes_at_most(self) -> None:
        assert sum(self.under_way) <= 1

    @invariant()
    def no_pause_is_endless(self) -> None:
        if self.breaker.state == "open":
            assert 0 < self.breaker.retry_in() <= PAUSE_MAX_S
            assert self.clock.now - self.opened_at < PAUSE_MAX_S


TestCalls = Calls.TestCase
