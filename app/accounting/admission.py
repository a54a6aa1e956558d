"""Whether a call may be made, and what it took: limits, budgets, the cache and shared calls, each step one round trip.

All of it lies in Redis, goes by Redis' clock, and is done by scripts (`lua/`), so that any number of gateways hold to
the same limits. A call's tokens and money are reserved before it leaves and settled after it; what is never settled
is charged as unconfirmed when its lease ends, or released if it had not been sent.

Every method raises `StoreUnavailable` where Redis does not answer; whether the step was done is then not known. An
admission that came to nothing that way ends with its lease, and a settlement may be asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from app.accounting.limit_refusal import refusal
from app.accounting.limit_status import LimitStatus
from app.contract.completion import BackendName, Usage
from app.pricing.limits import Estimate, Scope
from app.stores.pipelined import Pipelined
from app.stores.resp import Argument
from app.stores.scripts import BOOKS, Script
from app.stores.shared_calls import NO_RESULT, CallResult

ADMIT = Script(*BOOKS, "admit")
RENEW = Script(*BOOKS, "renew")
SETTLE = Script(*BOOKS, "settle")
SWEEP = Script(*BOOKS, "sweep")
LIMIT_STATUS = Script(*BOOKS, "standing")

Settlement = Literal["settled", "corrected", "repeated", "unknown"]
"""`corrected`: it had been charged as unconfirmed or released before. `repeated`: nothing changed, it was settled."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leader:
    """Make the call, then settle or release it: what it may take is reserved until the lease ends.

    `sent`: it counts as having left already.
    """

    limit_status: LimitStatus
    sent: bool = False


@dataclass(frozen=True, slots=True)
class CacheHit:
    """The answer is in the cache."""

    limit_status: LimitStatus
    value: bytes
    age_s: float


@dataclass(frozen=True, slots=True)
class Follower:
    """The same call is under way, under the request id `leader`: to be followed (`shared_calls.py`)."""

    limit_status: LimitStatus
    leader: str


Admission = Leader | CacheHit | Follower


class Admissions:
    """Admits calls and settles them."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def admit(
        self,
        request_id: str,
        scopes: Sequence[Scope],
        backend: BackendName,
        estimate: Estimate,
        *,
        lease_s: float,
        call_key: str | None = None,
        read_cache: bool = True,
        counted: bool = False,
        sent: bool = False,
    ) -> Admission:
        """Take what a call may need on every scope, or nothing at all.

        `estimate` is the most it can take. With a `call_key`, an answer in the cache or the same call under way
        elsewhere makes the call unnecessary and is counted against request limits alone. `counted`: an earlier
        admission of this request was, so this one is not. `sent`: the call leaves at once, without `sent()`, which
        saves a round trip; one that never left has to be released, and where its gateway dies before that it is charged
        as unconfirmed, since nobody can tell any more.

        Raises `RateLimited` or `BudgetExceeded`, and `ValueError` for a request id that was admitted before.
        """
        call = (request_id, backend, estimate.tokens, estimate.nano_usd, call_key or "")
        how = (int(read_cache), int(counted), "sent" if sent else "reserved", _us(lease_s))
        return _admission(await self._admit(*call, *how, scopes=scopes), tuple(scopes), sent)

    async def share(
        self,
        request_id: str,
        scopes: Sequence[Scope],
        call_key: str,
        *,
        read_cache: bool = True,
        counted: bool = False,
    ) -> CacheHit | Follower | None:
        """Take part in what is there already, as `admit` would; None, and nothing taken, where a call is needed."""
        how = (int(read_cache), int(counted), "", 0)
        reply = await self._admit(request_id, "", 0, 0, call_key, *how, scopes=scopes)
        if reply[0] == b"absent":
            return None
        shared = _admission(reply, tuple(scopes))
        assert not isinstance(shared, Leader)
        return shared

    async def sent(self, request_id: str) -> bool:
        """Note that the call is about to leave, and begin its lease anew. False: the lease is over, do not send."""
        return bool(await self._store.run(RENEW, request_id, "sent", 0))

    async def renew(self, request_id: str, lease_s: float) -> bool:
        """Let the lease end so much later than now. False: it is over; what is settled later is put right then."""
        return bool(await self._store.run(RENEW, request_id, "", _us(lease_s)))

    async def settle(self, request_id: str, usage: Usage, nano_usd: int, landing: CallResult = NO_RESULT) -> Settlement:
        """Book what the call took, on the day it was admitted, once; and tell those who follow how it ended."""
        tokens_in = usage.prompt_tokens - usage.cached_tokens
        booked = (tokens_in, usage.cached_tokens, usage.completion_tokens, nano_usd, int(usage.estimated))
        return await self._close(request_id, landing, *booked)

    async def release(self, request_id: str, landing: CallResult = NO_RESULT) -> Settlement:
        """Give back what was reserved for a call that was not made, or certainly cost nothing."""
        return await self._close(request_id, landing)

    async def sweep(self) -> None:
        """See to all leases that have ended, as each admission does to some of them."""
        while await self._store.run(SWEEP):
            pass

    async def limit_status(self, scopes: Sequence[Scope]) -> LimitStatus:
        """Where scopes stand now."""
        limits = [argument for scope in scopes for argument in scope.arguments]
        return LimitStatus(tuple(scopes), await self._store.run(LIMIT_STATUS, *limits))

    async def _admit(self, *arguments: Argument, scopes: Sequence[Scope]) -> list[Any]:
        limits = [argument for scope in scopes for argument in scope.arguments]
        while True:
            reply: list[Any] = await self._store.run(ADMIT, *arguments, *limits)
            if reply[0] != b"again":  # many leases had ended at once, and what they held is being freed
                return reply

    async def _close(self, request_id: str, landing: CallResult, *booked: int) -> Settlement:
        said = await self._store.run(SETTLE, request_id, *landing.arguments(), *booked)
        settlement = cast(Settlement, said.decode())
        if settlement == "unknown" and booked:
            log.error("nothing is known of a reservation of %s: %s is in no ledger", request_id, booked)
        return settlement


def _admission(reply: list[Any], scopes: tuple[Scope, ...], sent: bool = False) -> Admission:
    match reply:
        case [b"lead", limit_status]:
            return Leader(LimitStatus(scopes, limit_status), sent)
        case [b"hit", limit_status, cached]:
            stood = LimitStatus(scopes, limit_status)
            return CacheHit(stood, cached[16:], max(0, stood.at_us - int(cached[:16])) / 1e6)
        case [b"join", limit_status, leader]:
            return Follower(LimitStatus(scopes, limit_status), leader.decode())
        case [b"refused", limit_status, place, reason, wait_us]:
            raise refusal(scopes[place - 1], reason.decode(), wait_us, LimitStatus(scopes, limit_status))
    raise ValueError("the request id was admitted before")


def _us(seconds: float) -> int:
    return int(1_000_000 * seconds)
