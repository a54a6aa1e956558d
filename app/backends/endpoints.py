"""The servers behind one backend, and which of them to ask next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from app.backends.breaker import Breaker
from app.backends.upstream_errors import CallFailed
from app.errors import BackendUnavailable

AVOIDED_S = 2.0
"""Seconds for which a server that failed is asked only where no other can be."""


@dataclass(eq=False)
class Endpoint:
    """One server. `model` is what it is asked for; empty while that has not been found out."""

    url: str
    model: str = ""
    proxy: str | None = field(default=None, repr=False)
    fresh_s: float = 1.0
    """Seconds for which an answer, or a check that passed, vouches for it."""
    breaker: Breaker = field(default_factory=Breaker, repr=False)
    outstanding: int = 0
    avoided_until: float = -inf
    vouched_until: float = -inf

    def admit(self) -> bool:
        """Count a call that begins; whether it is one that probes."""
        self.outstanding += 1
        return self.breaker.admit()

    def release(self, probe: bool, well: bool | None) -> None:
        """Count a call off; `well` is how the server did, None where that cannot be said."""
        self.outstanding -= 1
        if well is None:
            self.breaker.withdrew(probe)
        elif well:
            self.breaker.succeeded(probe)
            self.vouch()
        else:
            self.breaker.failed(probe)

    def avoid(self, seconds: float = AVOIDED_S) -> None:
        """It has failed: it comes last for a while, and no earlier check counts."""
        self.avoided_until = monotonic() + seconds
        self.vouched_until = -inf

    def vouch(self) -> None:
        """It has answered, and need not be checked for a while."""
        self.avoided_until = -inf
        self.vouched_until = monotonic() + self.fresh_s


def choose(endpoints: Sequence[Endpoint], tried: Collection[Endpoint] = ()) -> Endpoint | None:
    """The endpoint with the fewest calls under way, preferably one not yet tried that has not just failed.

    None where every one is set aside.
    """
    now = monotonic()
    return min(
        (endpoint for endpoint in endpoints if not endpoint.breaker.ready_in()),
        key=lambda endpoint: (endpoint in tried, endpoint.avoided_until > now, endpoint.outstanding),
        default=None,
    )


def set_aside(name: str, endpoints: Sequence[Endpoint]) -> CallFailed:
    """None may be asked: when the first may be again."""
    wait = min(endpoint.breaker.ready_in() for endpoint in endpoints)
    return CallFailed(BackendUnavailable(f"{name} has kept failing and is given a pause", retry_after=wait))
