"""The results of an admission: a call to make, a cached result, or another request's call to follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.accounting.limit_refusal import refusal
from app.accounting.limit_status import LimitStatus
from app.pricing.limits import Scope


@dataclass(frozen=True, slots=True)
class Leader:
    """Make the call, then settle or release it: its estimate is reserved until the lease ends."""

    limit_status: LimitStatus
    sent: bool = False
    """Whether it already counts as sent."""


@dataclass(frozen=True, slots=True)
class CacheHit:
    """The result is in the cache."""

    limit_status: LimitStatus
    value: bytes
    age_s: float


@dataclass(frozen=True, slots=True)
class Follower:
    """The request `leader` is making the same call: follow it with `SharedCalls`."""

    limit_status: LimitStatus
    leader: str


Admission = Leader | CacheHit | Follower


def parse_admission(reply: list[Any], scopes: tuple[Scope, ...], sent: bool = False) -> Admission:
    """Return the result in a script's reply.

    Raises `RateLimited` or `BudgetExceeded`, and `ValueError` if the request id was admitted or settled before.
    """
    match reply:
        case [b"lead", limit_status]:
            return Leader(LimitStatus(scopes, limit_status), sent)
        case [b"hit", limit_status, cached]:
            status = LimitStatus(scopes, limit_status)
            cached_at = int(cached[:16]) if cached[:16].isdigit() else status.at_us
            return CacheHit(status, cached[16:], max(0, status.at_us - cached_at) / 1e6)
        case [b"join", limit_status, leader]:
            return Follower(LimitStatus(scopes, limit_status), leader.decode())
        case [b"refused", limit_status, index, reason, wait_us]:
            raise refusal(scopes[index - 1], reason.decode(), wait_us, LimitStatus(scopes, limit_status))
    raise ValueError("the request id was admitted before, or settled already")
