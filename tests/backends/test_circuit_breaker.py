"""The circuit breaker: when it opens, when it admits a probe, and what the probe decides."""

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


def test_consecutive_failures_open_it(breaker: CircuitBreaker) -> None:
    fail(breaker, MAX_CONSECUTIVE_FAILURES - 1)
    assert (breaker.state, breaker.retry_in()) == ("closed", 0)
    fail(breaker, 1)
    assert (breaker.state, breaker.retry_in()) == ("open", PAUSE_S)


def test_a_success_resets_the_count(breaker: CircuitBreaker) -> None:
    fail(breaker, MAX_CONSECUTIVE_FAILURES - 1)
    breaker.record_success(breaker.admit())
    fail(breaker, MAX_CONSECUTIVE_FAILURES - 1)
    assert breaker.state == "closed"


def test_it_opens_if_half_of_the_calls_fail(breaker: CircuitBreaker) -> None:
    for _ in range(MAX_WINDOW_FAILURES - 1):
        breaker.record_failure(breaker.admit())
        breaker.record_success(breaker.admit())
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_failures_outside_the_window_do_not_count(breaker: CircuitBreaker) -> None:
    for _ in range(10 * MAX_WINDOW_FAILURES):
        breaker.record_failure(breaker.admit())
        for _ in range(WINDOW_CALLS // MAX_WINDOW_FAILURES):
            breaker.record_success(breaker.admit())
    assert breaker.state == "closed"


def test_after_the_pause_one_call_is_the_probe(breaker: CircuitBreaker, clock: Clock) -> None:
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


def test_after_a_cancelled_probe_another_call_may_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE_S
    breaker.record_unknown(breaker.admit())
    assert breaker.state == "half_open"
    assert breaker.retry_in() == 0
    assert breaker.admit()


def test_calls_admitted_before_it_opened_do_not_count(breaker: CircuitBreaker, clock: Clock) -> None:
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
    """Calls start whenever they are admitted, and end in any order at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(self.clock)
        self.running: list[bool] = []
        self.consecutive = 0
        self.opened_at = 0.0

    @precondition(lambda self: not self.breaker.retry_in())
    @rule()
    def start(self) -> None:
        state = self.breaker.state
        probe = self.breaker.admit()
        assert probe == (state == "half_open")
        self.running.append(probe)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), result=st.sampled_from(["success", "failure", "unknown"]))
    def end(self, data: st.DataObject, result: str) -> None:
        probe = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        was = self.breaker.state
        getattr(self.breaker, f"record_{result}")(probe)
        if was == "closed":
            self.consecutive = {"success": 0, "failure": self.consecutive + 1}.get(result, self.consecutive)
            assert self.consecutive < MAX_CONSECUTIVE_FAILURES or self.breaker.state == "open"
        elif probe:
            assert self.breaker.state == {"success": "closed", "failure": "open", "unknown": "half_open"}[result]
        else:
            assert self.breaker.state == was
        if self.breaker.state == "open" and was != "open":
            self.consecutive = 0
            self.opened_at = self.clock.now

    @rule(seconds=st.floats(0, 2 * PAUSE_MAX_S))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def one_probes_at_most(self) -> None:
        assert sum(self.running) <= 1

    @invariant()
    def no_pause_is_endless(self) -> None:
        if self.breaker.state == "open":
            assert 0 < self.breaker.retry_in() <= PAUSE_MAX_S
            assert self.clock.now - self.opened_at < PAUSE_MAX_S


TestCalls = Calls.TestCase


def test_a_failure_is_excused_while_its_body_alone_has_failed() -> None:
    breaker = CircuitBreaker()
    assert [breaker.excuses(body) for body in (1, 1, 2, 2, 3, 1)] == [True, True, False, True, False, True]
    breaker.record_success(probe=False)
    assert breaker.excuses(3)
