"""A model's answer to a prompt: from the cache, from a call that another request makes, or from a call paid for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from pydantic import TypeAdapter

from app.accounting.admission import Admission, CacheHit, Follower, Leader
from app.accounting.limit_status import LimitStatus
from app.accounting.reservations import Coalescing, Reservation, Reservations
from app.completions.request import (
    CachedCompletion,
    CompletedCall,
    CompletionRequest,
    PendingCompletion,
    SharedCompletion,
)
from app.completions.retry import MOST, Attempts
from app.completions.single_flight import InFlightCall, SingleFlight
from app.contract.completion import NOTHING, Completion
from app.contract.recommendation import ANSWER_TOKENS, parse
from app.deadline import Deadline
from app.errors import (
    BackendError,
    BackendUnavailable,
    ConvictionError,
    DeadlineExceeded,
    Overloaded,
    StoreUnavailable,
    UnparsedAnswer,
)
from app.stores.shared_calls import CallResult, SharedCalls
from app.telemetry.metrics import CacheResult, Collectors

COMPLETION = TypeAdapter(Completion)
TOLD = {
    error.code: error
    for error in (BackendError, UnparsedAnswer, BackendUnavailable, DeadlineExceeded, Overloaded, StoreUnavailable)
}
"""What those who follow a call can be told went wrong with it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timeouts:
    """Seconds for which an answer may be given again, and which a call may take."""

    answer_s: float
    call_s: float


class CompletionService:
    """Gets answers, each call once however many want it."""

    def __init__(
        self,
        shared_calls: SharedCalls,
        reservations: Reservations,
        collectors: Collectors,
        timeouts: Timeouts,
    ) -> None:
        self._shared_calls, self._reservations = shared_calls, reservations
        self._collectors, self._timeouts = collectors, timeouts
        self._in_flight: SingleFlight[CompletedCall] = SingleFlight()

    @asynccontextmanager
    async def ask(self, wanted: CompletionRequest) -> AsyncIterator[PendingCompletion]:
        """The answer on its way; whoever leaves the context early gives it up, and with the last the call ends.

        Raises `RateLimited`, `BudgetExceeded`, `Overloaded`, `StoreUnavailable`, and what went wrong elsewhere with a
        call that is shared.
        """
        if not (wanted.terms.alone or wanted.upstream.gate.full):
            await wanted.upstream.backend.discover_model()  # so that the first requests share, too
        async with AsyncExitStack() as stack:
            counted = False
            while True:
                admission = await self._admit(wanted, counted)
                pending = await self._take(wanted, admission, stack)
                if pending is not None:
                    break
                counted = True
            yield pending

    async def close(self) -> None:
        """Return once every call has ended and is booked."""
        await self._in_flight.settled()

    async def _admit(self, wanted: CompletionRequest, counted: bool) -> Admission | None:
        """Whoever needs no call needs no place in line; with none left, one who needs one is told so."""
        upstream, principal = wanted.upstream, wanted.terms.principal
        reads = self._timeouts.answer_s > 0 and not wanted.terms.fresh
        share = Coalescing(wanted.key, read_cache=reads, counted=counted)
        if upstream.gate.full:
            shared = await self._reservations.share(wanted.request_id, principal, upstream, share)
            if shared is None:
                raise upstream.gate.refusal()
            return shared
        estimate = upstream.max_estimate(wanted.prompt, ANSWER_TOKENS[wanted.detail], MOST)
        return await self._reservations.admit(wanted.request_id, principal, upstream, estimate, share)

    async def _take(
        self, wanted: CompletionRequest, admission: Admission | None, stack: AsyncExitStack
    ) -> PendingCompletion | None:
        """What was admitted; None where a shared call ended without an answer for others, and one is to be made."""
        match admission:
            case CacheHit(stood, value, age_s):
                return self._counted(
                    "hit", CachedCompletion(wanted.request_id, _read(value, wanted), "cache", age_s, stood)
                )
            case Follower(stood, leader):
                return await self._join(wanted, leader, stood, stack)
            case Leader(sent=sent):
                reservation, key = self._reservations.open(wanted.request_id, wanted.upstream, sent), wanted.key
            case None:
                reservation, key = self._reservations.without(wanted.upstream), None
        flight = InFlightCall(lambda flight: self._make(wanted, flight, reservation), lambda: self._deserted(wanted))
        self._in_flight.add(key or wanted.request_id, flight)
        await stack.enter_async_context(flight.joined())
        limit_status = admission.limit_status if admission else None
        return self._counted("miss", SharedCompletion(wanted.request_id, flight, "model", limit_status))

    async def _join(
        self, wanted: CompletionRequest, leader: str, limit_status: LimitStatus, stack: AsyncExitStack
    ) -> PendingCompletion | None:
        """The answer of a call under way. Its text is heard as it comes where this gateway makes the call; one that
        another makes tells how it ended and nothing before, so that a stream gets all of its text then."""
        flight = self._in_flight.find(wanted.key or "")
        if flight is not None:
            stack.push_async_callback(self._shared_calls.leave, leader, wanted.request_id)
            await stack.enter_async_context(flight.joined())
            return self._counted("coalesced", SharedCompletion(wanted.request_id, flight, "coalesced", limit_status))
        began = perf_counter()
        landing = await self._shared_calls.follow(leader, wanted.request_id)
        if landing.error is not None:
            error = TOLD.get(landing.error, BackendError)(
                f"{wanted.upstream.name} failed the request that this one shared a call with"
            )
            error.retry_after = landing.retry_after
            raise error
        if landing.value is None:
            return None
        made = _read(landing.value, wanted).free(perf_counter() - began)
        return self._counted("coalesced", CachedCompletion(wanted.request_id, made, "coalesced", None, limit_status))

    async def _make(
        self,
        wanted: CompletionRequest,
        flight: InFlightCall[CompletedCall],
        opening: AbstractAsyncContextManager[Reservation],
    ) -> CompletedCall:
        """Make the call, and book what it took however it ends."""
        upstream = wanted.upstream
        attempts = Attempts(upstream, wanted.detail, flight, Deadline.after(self._timeouts.call_s))
        async with opening as reservation:
            try:
                async with upstream.gate.entered(reservation.sent):
                    await self._reservations.sending(reservation, wanted.terms.principal, upstream)
                    answer, completion = await attempts.answer(wanted.prompt)
            except ConvictionError as error:
                reservation.landing = CallResult(error=error.code, retry_after=error.retry_after)
                raise
            finally:
                reservation.usage = attempts.usage
            # A server that was started anew may have another model than the one that the answer is kept for.
            kept_s = self._timeouts.answer_s if attempts.asked == wanted.model else 0.0
            reservation.landing = CallResult(COMPLETION.dump_json(completion), kept_s)
        return CompletedCall(answer, completion, attempts.usage, upstream.cost(attempts.usage), attempts.waited_s)

    async def _deserted(self, wanted: CompletionRequest) -> None:
        """Return once nobody elsewhere waits for the call, or nobody can tell."""
        if wanted.key is None:
            return
        try:
            await self._shared_calls.deserted(wanted.request_id)
        except StoreUnavailable as error:
            log.warning("whether others wait for a call cannot be told: %s", error.detail)

    def _counted(self, result: CacheResult, pending: PendingCompletion) -> PendingCompletion:
        self._collectors.cache[result].inc()
        return pending


def _read(value: bytes, wanted: CompletionRequest) -> CompletedCall:
    """An answer as another call left it."""
    completion = COMPLETION.validate_json(value)
    answer = parse(wanted.detail, completion.text)
    return CompletedCall(answer, completion, NOTHING, wanted.upstream.cost(NOTHING), 0.0)
