"""Leaves a server alone that keeps failing, and asks it again, one call at a time, after a pause.

closed ──── failures ───► open ──── the pause is over ───► half_open
   ▲                        ▲                                  │
   │                        └── the one call failed: twice ────┤
   └───────────────────────────── it succeeded ────────────────┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from app.backends.base import BreakerState

IN_A_ROW = 5
"""Failures after which a server is left alone."""

RECENT, MOST_OF_RECENT = 20, 10
"""Or this many failures among as many calls."""

PAUSE_S, PAUSE_MAX_S = 1.0, 30.0
"""The first pause, and the longest that doubling it may lead to."""


class Breaker:
    """One server's. While it is not closed, only the call that probes it has a say."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._close()

    @property
    def state(self) -> BreakerState:
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half_open"

    def ready_in(self) -> float:
        """Seconds until a call may go through, 0 if one may now; while one probes, the pause as good as any."""
        if self._until is None:
            return 0.0
        return PAUSE_S if self._probing else max(0.0, self._until - self._clock())

    def admit(self) -> bool:
        """Let a call through that may go; whether it is the one that probes."""
        self._probing = self._until is not None
        return self._probing

    def succeeded(self, probe: bool) -> None:
        if probe:
            self._close()
        elif self._until is None:
            self._in_a_row = 0
            self._recent.append(False)

    def failed(self, probe: bool) -> None:
        if probe:
            self._open(min(2 * self._pause, PAUSE_MAX_S))
        elif self._until is None:
            self._in_a_row += 1
            self._recent.append(True)
            if self._in_a_row >= IN_A_ROW or sum(self._recent) >= MOST_OF_RECENT:
                self._open(PAUSE_S)

    def withdrew(self, probe: bool) -> None:
        """The call ended without a word about the server: another may probe."""
        if probe:
            self._probing = False

    def _close(self) -> None:
        self._until: float | None = None
        self._pause = PAUSE_S
        self._probing = False
        self._in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=RECENT)

    def _open(self, pause: float) -> None:
        self._pause = pause
        self._until = self._clock() + pause
        self._probing = False
