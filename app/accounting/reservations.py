"""Calls that were admitted, from their reservation to their settlement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

from opentelemetry.trace import Span

from app.accounting.admission import Admission, Admissions, CacheHit, Follower
from app.accounting.settlement import Settlements
from app.auth.principal import Principal
from app.backends.upstream import Upstream
from app.contract.completion import NOTHING, Usage
from app.errors import StoreUnavailable
from app.pricing.limits import Estimate, Limits
from app.pricing.prices import NANO
from app.stores.shared_calls import NO_RESULT, CallResult
from app.telemetry.metrics import Collectors
from app.telemetry.tracing import step_span

LEASE_S = 15.0
"""A gateway that dies is noticed so much later: what it had sent is charged, and who followed asks anew."""
RENEW_S = 4.0
"""As often it is seen to those whose gateway died: no later than so long after their leases' end."""
NO_LIMITS = Limits()


@dataclass
class Reservation:
    """One call's. What is set here when the call ends is booked."""

    request_id: str | None
    """None: nothing was reserved, since the store is away."""
    sent: bool = False
    """It counts as sent, and need not be noted."""
    usage: Usage = NOTHING
    landing: CallResult = field(default=NO_RESULT)


@dataclass(frozen=True)
class Coalescing:
    """Whether another's answer will do: the key of all that it would do for, if any; and for one who asks again
    because a shared call came to nothing, that it was counted."""

    key: str | None = None
    read_cache: bool = True
    counted: bool = False


NO_COALESCING = Coalescing()


class Reservations:
    """Admits calls, keeps their reservations alive while they are under way, and closes them when they end.

    Made where an event loop runs. It sees to the leases of gateways that died, too, whether or not anybody asks.
    """

    def __init__(self, admissions: Admissions, settlements: Settlements, collectors: Collectors) -> None:
        self._admissions = admissions
        self._settlements = settlements
        self._collectors = collectors
        self._open: set[str] = set()
        self._tending = asyncio.create_task(self._tend())

    async def admit(
        self,
        request_id: str,
        principal: Principal,
        upstream: Upstream,
        estimate: Estimate,
        share: Coalescing = NO_COALESCING,
    ) -> Admission | None:
        """Take what the call may need, within the limits of the holder and the backend.

        What finds a place at once is admitted as sent, since nothing is to be waited for in between. None where the
        store is away and there are no limits. Raises `RateLimited`, `BudgetExceeded` and, where the store is away and
        there are limits, `StoreUnavailable`.
        """
        try:
            with upstream.gate.coming() as concurrency, _span(upstream) as admitting:
                admission = await self._admissions.admit(
                    request_id,
                    (principal.scope, upstream.scope),
                    upstream.name,
                    estimate,
                    lease_s=LEASE_S,
                    call_key=share.key,
                    read_cache=share.read_cache,
                    counted=share.counted,
                    sent=concurrency,
                )
                _note(admitting, admission)
                return admission
        except StoreUnavailable:
            self._settlements.undo(request_id, upstream.name)
            if _limited(principal, upstream):
                raise
            return None
        except asyncio.CancelledError:
            self._settlements.undo(request_id, upstream.name)
            raise

    async def share(
        self, request_id: str, principal: Principal, upstream: Upstream, share: Coalescing
    ) -> CacheHit | Follower | None:
        """Take part in what is there already, within request limits; None where a call would have to be made, or
        where the store is away. Raises `RateLimited`."""
        if share.key is None:
            return None
        try:
            with _span(upstream) as sharing:
                shared = await self._admissions.share(
                    request_id,
                    (principal.scope, upstream.scope),
                    share.key,
                    read_cache=share.read_cache,
                    counted=share.counted,
                )
                if shared is not None:
                    _note(sharing, shared)
                return shared
        except StoreUnavailable:
            return None

    @asynccontextmanager
    async def open(self, request_id: str, upstream: Upstream, sent: bool = False) -> AsyncIterator[Reservation]:
        """A reservation, for as long as its call takes: then settled, or released if it used nothing."""
        reservation = Reservation(request_id, sent)
        self._open.add(request_id)
        try:
            yield reservation
        finally:
            self._open.discard(request_id)
            if reservation.usage == NOTHING:
                await self._settlements.release(request_id, upstream.name, reservation.landing)
            else:
                cost = upstream.cost(reservation.usage)
                await self._settlements.settle(request_id, upstream.name, reservation.usage, cost, reservation.landing)

    @asynccontextmanager
    async def without(self, upstream: Upstream) -> AsyncIterator[Reservation]:
        """A call without a reservation, while the store is away: what it takes is counted, and in no ledger."""
        reservation = Reservation(None)
        try:
            yield reservation
        finally:
            if reservation.usage != NOTHING:
                self._settlements.forgo(upstream.name, reservation.usage, upstream.cost(reservation.usage))

    async def sending(self, reservation: Reservation, principal: Principal, upstream: Upstream) -> None:
        """Note that the call is about to leave.

        Raises `StoreUnavailable` where the reservation is over, or where there are limits and the store is away:
        nothing is sent then.
        """
        if reservation.request_id is None or reservation.sent:
            return
        try:
            held = await self._admissions.sent(reservation.request_id)
        except StoreUnavailable:
            if _limited(principal, upstream):
                raise
            return
        if not held:
            raise StoreUnavailable("the request's reservation had ended before its turn came")

    async def observe(self, upstreams: Iterable[Upstream]) -> None:
        """Show how much of backends' budgets is used; what was shown last stays where the store is away."""
        limited = [upstream for upstream in upstreams if upstream.scope.limits.nano_usd_per_day is not None]
        if not limited:
            return
        try:
            limit_status = await self._admissions.limit_status([upstream.scope for upstream in limited])
        except StoreUnavailable:
            return
        for upstream in limited:
            self._collectors.budget_used.labels(upstream.name).set(
                limit_status.used_nano_usd(upstream.scope.name) / NANO
            )

    async def spare(self, upstream: Upstream) -> bool:
        """Whether more than half of each of the backend's limits is left. Raises `StoreUnavailable`."""
        if upstream.scope.limits == NO_LIMITS:
            return True
        limit_status = await self._admissions.limit_status([upstream.scope])
        return all(2 * window.remaining > window.limit for window in limit_status.windows())

    async def close(self) -> None:
        """Wait for calls that still end, and book what is due."""
        while self._open:  # noqa: ASYNC110 - nobody else waits for that
            await asyncio.sleep(0.01)
        self._tending.cancel()
        await asyncio.wait((self._tending,))
        await self._settlements.close()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            renewals = (self._admissions.renew(request_id, LEASE_S) for request_id in tuple(self._open))
            # One that fails is tried again; one that lapses is put right when it is settled.
            await asyncio.gather(*renewals, return_exceptions=True)
            with suppress(StoreUnavailable):
                await self._admissions.sweep()


def _limited(principal: Principal, upstream: Upstream) -> bool:
    return principal.scope.limits != NO_LIMITS or upstream.scope.limits != NO_LIMITS


def _span(upstream: Upstream) -> AbstractContextManager[Span]:
    return step_span("admission", {"conviction.backend": upstream.name})


def _note(admitting: Span, admission: Admission) -> None:
    """Where the answer is to come from."""
    match admission:
        case CacheHit():
            source = "cache"
        case Follower():
            source = "coalesced"
        case _:
            source = "model"
    admitting.set_attribute("conviction.source", source)
