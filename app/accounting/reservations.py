"""Reservations of admitted calls: made at admission, renewed while the call runs, settled when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

from opentelemetry.trace import Span

from app.accounting.admission import Admissions
from app.accounting.admission_result import Admission, CacheHit, Follower, Leader
from app.accounting.budget_watch import BudgetWatch
from app.accounting.settlement import Settlements
from app.auth.principal import Principal
from app.backends.upstream import Upstream
from app.contract.completion import NO_USAGE, Usage
from app.errors import BudgetExceeded, StoreUnavailable
from app.pricing.limits import NO_LIMITS, Estimate
from app.stores.shared_calls import NO_RESULT, CallResult
from app.telemetry.metrics import Collectors
from app.telemetry.tracing import step_span

LEASE_S = 15.0
"""After this, a dead gateway's calls that were sent are charged, and their followers make them again."""
RENEW_S = 4.0
"""Between renewals of open leases, and between sweeps of leases that have ended."""


@dataclass
class Reservation:
    """One call's reservation. Its usage and result are settled when its context ends."""

    request_id: str | None
    """None if the store was unavailable and nothing was reserved."""
    sent: bool = False
    """Whether it already counts as sent and holds a slot of the backend's concurrency limit."""
    usage: Usage = NO_USAGE
    result: CallResult = NO_RESULT


@dataclass(frozen=True)
class Coalescing:
    """Whether another request's result will do."""

    key: str | None = None
    """Equal for calls with equal results; None if the result cannot be shared."""
    read_cache: bool = True
    counted: bool = False
    """Whether an earlier admission of this request was counted against request limits."""


NO_COALESCING = Coalescing()


class Reservations:
    """Admits calls, renews the leases of those that run, and settles those that end.

    Needs a running event loop. It also sweeps the leases of gateways that died, and has a `watch` check the budgets
    that calls use.
    """

    def __init__(
        self,
        admissions: Admissions,
        settlements: Settlements,
        collectors: Collectors,
        watch: BudgetWatch | None = None,
    ) -> None:
        self._admissions = admissions
        self._watch = watch
        self._settlements = settlements
        self._collectors = collectors
        self._open: set[str] = set()
        self._renewing = asyncio.create_task(self._renew())

    async def admit(
        self,
        request_id: str,
        principal: Principal,
        upstream: Upstream,
        estimate: Estimate,
        coalescing: Coalescing = NO_COALESCING,
    ) -> Admission | None:
        """Reserve the estimate within the limits of the principal and the backend.

        If the backend has a free slot, the call is admitted as sent and holds the slot: `Leader.sent`. None if the
        store is unavailable and there are no limits. Raises `RateLimited`, `BudgetExceeded` and, if the store is
        unavailable and there are limits, `StoreUnavailable`.
        """
        reserved, admission = upstream.concurrency.reserve(), None
        try:
            with _span(upstream) as admitting:
                admission = await self._admissions.admit(
                    request_id,
                    (principal.scope, upstream.scope),
                    upstream.name,
                    estimate,
                    lease_s=LEASE_S,
                    call_key=coalescing.key,
                    read_cache=coalescing.read_cache,
                    counted=coalescing.counted,
                    sent=reserved,
                )
                _note(admitting, admission)
                return admission
        except BudgetExceeded:
            if self._watch:
                self._watch.note(principal, upstream, estimate.nano_usd)
            raise
        except StoreUnavailable:
            self._settlements.release_later(request_id, upstream.name)
            if _limited(principal, upstream):
                raise
            return None
        except asyncio.CancelledError:
            self._settlements.release_later(request_id, upstream.name)
            raise
        finally:
            if reserved and not isinstance(admission, Leader):
                upstream.concurrency.release()

    async def count_request(self, principal: Principal, upstream: Upstream | None = None) -> bool:
        """Count the request before work that precedes its admission, or that no backend has a part in (None).

        False if there are no request limits.

        Raises `RateLimited` and `StoreUnavailable`.
        """
        scopes = [principal.scope, *([upstream.scope] if upstream else [])]
        if all(scope.limits.requests_per_minute is None for scope in scopes):
            return False
        await self._admissions.count_request(scopes)
        return True

    async def share(
        self, request_id: str, principal: Principal, upstream: Upstream, coalescing: Coalescing
    ) -> CacheHit | Follower | None:
        """Return a cached result or a running call to follow, counted against request limits.

        None if a call would have to be made, or if the store is unavailable. Raises `RateLimited`.
        """
        if coalescing.key is None:
            return None
        try:
            with _span(upstream) as sharing:
                shared = await self._admissions.share(
                    request_id,
                    (principal.scope, upstream.scope),
                    coalescing.key,
                    read_cache=coalescing.read_cache,
                    counted=coalescing.counted,
                )
                if shared is not None:
                    _note(sharing, shared)
                return shared
        except StoreUnavailable:
            return None

    @asynccontextmanager
    async def open(
        self, request_id: str, principal: Principal, upstream: Upstream, admission: Leader | None
    ) -> AsyncIterator[Reservation]:
        """Hold the reservation while the call runs, then settle it, or release it if it used nothing.

        A call without an admission is counted, but in no ledger.
        """
        reservation = Reservation(request_id, admission.sent) if admission else Reservation(None)
        if admission:
            self._open.add(request_id)
        try:
            yield reservation
        finally:
            used = reservation.usage
            cost = None if used == NO_USAGE else upstream.cost(used)
            if cost is not None:
                self._collectors.count_usage(principal.name, upstream.name, used, cost)
            if admission:
                self._open.discard(request_id)
                settled = (request_id, upstream.name, used, cost, reservation.result, admission.limit_status)
                await self._settlements.settle(*settled)
                if self._watch and cost is not None:
                    self._watch.note(principal, upstream)
            elif cost is not None:
                self._settlements.log_unreserved(upstream.name, cost)

    async def mark_sent(self, reservation: Reservation, principal: Principal, upstream: Upstream) -> None:
        """Record that the call is about to be sent, unless its admission did.

        Raises `StoreUnavailable`, and the call must not be sent, if the reservation has ended, or if there are limits
        and the store is unavailable.
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
            raise StoreUnavailable("the request's reservation ended while the request was queued")

    async def close(self) -> None:
        """Wait for open calls to end, and settle what is pending."""
        while self._open:  # noqa: ASYNC110 - nothing else waits for it
            await asyncio.sleep(0.01)
        self._renewing.cancel()
        await asyncio.wait((self._renewing,))
        await self._settlements.close()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            renewals = (self._admissions.renew(request_id, LEASE_S) for request_id in tuple(self._open))
            # A failed renewal is repeated; settling corrects a lease that ended.
            await asyncio.gather(*renewals, return_exceptions=True)
            with suppress(StoreUnavailable):
                await self._admissions.sweep()


def _limited(principal: Principal, upstream: Upstream) -> bool:
    return principal.scope.limits != NO_LIMITS or upstream.scope.limits != NO_LIMITS


def _span(upstream: Upstream) -> AbstractContextManager[Span]:
    return step_span("admission", {"conviction.backend": upstream.name})


def _note(admitting: Span, admission: Admission) -> None:
    """Add the result's source to the span."""
    match admission:
        case CacheHit():
            source = "cache"
        case Follower():
            source = "coalesced"
        case _:
            source = "model"
    admitting.set_attribute("conviction.source", source)
