"""The servers of one backend, and the choice of the server for a call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from app.backends.circuit_breaker import CircuitBreaker
from app.backends.upstream_errors import CallFailed
from app.errors import BackendUnavailable

DEPRIORITIZED_S = 2.0
"""The time for which a server that failed is used only if no other is available."""


@dataclass(eq=False)
class Endpoint:
    """One server. `model` is the model that calls name, empty until it is known."""

    url: str
    model: str = ""
    proxy: str | None = field(default=None, repr=False)
    health_ttl_s: float = 1.0
    """The time for which an answer or a passed check proves the server healthy."""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker, repr=False)
    outstanding: int = 0
    deprioritized_until: float = -inf
    healthy_until: float = -inf

    def acquire(self) -> bool:
        """Count a call that starts, and return whether it is the breaker's probe."""
        self.outstanding += 1
        return self.breaker.admit()

    def release(self, probe: bool, healthy: bool | None) -> None:
        """Count a call that ended; `healthy` is None if the call is no evidence of the server's health."""
        self.outstanding -= 1
        if healthy is None:
            self.breaker.record_unknown(probe)
        elif healthy:
            self.breaker.record_success(probe)
            self.mark_healthy()
        else:
            self.breaker.record_failure(probe)

    def deprioritize(self, seconds: float = DEPRIORITIZED_S) -> None:
        """Choose the server last for `seconds`, and discard earlier proof of its health."""
        self.deprioritized_until = monotonic() + seconds
        self.healthy_until = -inf

    def mark_healthy(self) -> None:
        """Record an answer or a passed check, so that checks are skipped for `health_ttl_s`."""
        self.deprioritized_until = -inf
        self.healthy_until = monotonic() + self.health_ttl_s


def choose_endpoint(endpoints: Sequence[Endpoint], tried: Collection[Endpoint] = ()) -> Endpoint | None:
    """Return the endpoint with the fewest outstanding calls; untried and not deprioritized ones come first.

    None if the breakers of all are open.
    """
    now = monotonic()
    return min(
        (endpoint for endpoint in endpoints if not endpoint.breaker.retry_in()),
        key=lambda endpoint: (endpoint in tried, endpoint.deprioritized_until > now, endpoint.outstanding),
        default=None,
    )


def breakers_open(name: str, endpoints: Sequence[Endpoint]) -> CallFailed:
    """Return the error of a backend whose breakers are all open, with the time until the first may close."""
    wait = min(endpoint.breaker.retry_in() for endpoint in endpoints)
    return CallFailed(BackendUnavailable(f"{name} has failed repeatedly and is paused", retry_after=wait))
