"""A circuit breaker per server: after repeated failures it pauses calls, then admits one call as a probe.

closed ──── failures ───► open ──── the pause is over ───► half_open
   ▲                        ▲                                  │
   │                        └── the probe failed: doubled ─────┤
   └───────────────────────── the probe succeeded ─────────────┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from app.backends.base import BreakerState

MAX_CONSECUTIVE_FAILURES = 5
"""Consecutive failures that open the breaker."""

WINDOW_CALLS, MAX_WINDOW_FAILURES = 20, 10
"""Or this number of failures among the latest calls."""

PAUSE_S, PAUSE_MAX_S = 1.0, 30.0
"""The first pause, and the limit of its doubling."""


class CircuitBreaker:
    """The breaker of one server. While it is not closed, only the probe's result counts."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._close()

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half_open"

    def retry_in(self) -> float:
        """Return the seconds until a call may be admitted, 0 for now; while a probe runs, `PAUSE_S` as an estimate."""
        if self._open_until is None:
            return 0.0
        return PAUSE_S if self._probing else max(0.0, self._open_until - self._clock())

    def admit(self) -> bool:
        """Admit a call, which `retry_in` must allow, and return whether it is the probe."""
        self._probing = self._open_until is not None
        return self._probing

    def excuses(self, body: int) -> bool:
        """Return whether a failure may be due to the body, a hash: since the last success no other one has failed."""
        excused = body in self._failed_bodies or not self._failed_bodies
        if body not in self._failed_bodies:
            self._failed_bodies.append(body)
        return excused

    def record_success(self, probe: bool) -> None:
        self._failed_bodies.clear()
        if probe:
            self._close()
        elif self._open_until is None:
            self._consecutive_failures = 0
            self._failures.append(False)

    def record_failure(self, probe: bool) -> None:
        if probe:
            self._open(min(2 * self._pause, PAUSE_MAX_S))
        elif self._open_until is None:
            self._consecutive_failures += 1
            self._failures.append(True)
            too_many = sum(self._failures) >= MAX_WINDOW_FAILURES
            if too_many or self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                self._open(PAUSE_S)

    def record_unknown(self, probe: bool) -> None:
        """Record a call that says nothing about the server's health; another call may probe."""
        if probe:
            self._probing = False

    def _close(self) -> None:
        self._open_until: float | None = None
        self._pause = PAUSE_S
        self._probing = False
        self._consecutive_failures = 0
        self._failures: deque[bool] = deque(maxlen=WINDOW_CALLS)
        self._failed_bodies: deque[int] = deque(maxlen=WINDOW_CALLS)

    def _open(self, pause: float) -> None:
        self._pause = pause
        self._open_until = self._clock() + pause
        self._probing = False
