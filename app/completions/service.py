"""A model's answer to a prompt: from the cache, from a call that another request makes, or from a new call."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter

from app.accounting.admission_result import Admission, CacheHit, Follower, Leader
from app.accounting.reservations import Coalescing, Reservations
from app.backends.upstream import Upstream
from app.completions.request import CompletedCall, CompletionRequest, PendingCompletion, RequestOptions
from app.completions.retry import MAX_ATTEMPTS, Attempts
from app.completions.shared_result import COMPLETION, raise_error, read_completion
from app.completions.single_flight import InFlightCall, SingleFlight
from app.contract.completion import NO_USAGE
from app.contract.recommendation import ANSWER_TOKENS
from app.deadline import Deadline
from app.errors import ConvictionError, StoreUnavailable
from app.stores.shared_calls import CallResult, SharedCalls
from app.telemetry.labels import CacheResult
from app.telemetry.metrics import Collectors

log = logging.getLogger(__name__)


class CompletionService:
    """Gets answers; requests for the same answer share one call.

    A result is cached for `cache_s` seconds (0: not at all); a call has `call_timeout_s` seconds.
    """

    def __init__(
        self,
        shared_calls: SharedCalls,
        reservations: Reservations,
        collectors: Collectors,
        *,
        cache_s: float,
        call_timeout_s: float,
    ) -> None:
        self._shared_calls, self._reservations, self._collectors = shared_calls, reservations, collectors
        self._cache_s, self._call_timeout_s = cache_s, call_timeout_s
        self._in_flight: SingleFlight[CompletedCall] = SingleFlight()

    @asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[PendingCompletion]:
        """Yield the pending completion. The call is cancelled when the context of its last waiter exits.

        Raises `RateLimited`, `BudgetExceeded`, `Overloaded`, `StoreUnavailable`, and the error of a call in another
        gateway.
        """
        if not (request.options.alone or request.upstream.concurrency.full):
            await request.upstream.backend.discover_model()  # so that the first requests share a call, too
        async with AsyncExitStack() as stack:
            pending, counted = None, request.options.counted
            read_cache = self._cache_s > 0 and not request.options.fresh
            while pending is None:
                admission = await self._admit(request, Coalescing(request.key, read_cache, counted))
                pending = await self._start(request, admission, stack)
                read_cache, counted = read_cache and not isinstance(admission, CacheHit), True
            yield pending

    async def count_request(self, options: RequestOptions, upstream: Upstream) -> bool:
        """Count a request before its completion is requested; False if there are no request limits."""
        return await self._reservations.count_request(options.principal, upstream)

    async def close(self) -> None:
        """Return once every call has ended and is settled."""
        await self._in_flight.wait_idle()

    async def _admit(self, request: CompletionRequest, coalescing: Coalescing) -> Admission | None:
        """Admit the request; when the backend's queue is full, only to a cached result or another request's call."""
        upstream, principal = request.upstream, request.options.principal
        if upstream.concurrency.full:
            shared = await self._reservations.share(request.request_id, principal, upstream, coalescing)
            if shared is None:
                raise upstream.concurrency.refusal()
            return shared
        estimate = upstream.max_estimate(request.prompt, ANSWER_TOKENS[request.detail], MAX_ATTEMPTS)
        return await self._reservations.admit(request.request_id, principal, upstream, estimate, coalescing)

    async def _start(
        self, request: CompletionRequest, admission: Admission | None, stack: AsyncExitStack
    ) -> PendingCompletion | None:
        """Read the cached result, follow the other request's call, or start a call.

        None if there is no result for this request after all, so that it must be admitted again.
        """
        match admission:
            case CacheHit(limit_status, value, age_s):
                completed = _read(value, request)
                if completed is None:
                    return None
                self._count("hit")
                return PendingCompletion(request.request_id, "cache", limit_status, completed, age_s)
            case Follower():
                return await self._follow(request, admission, stack)
        call = InFlightCall(
            lambda call: self._call(request, call, admission), lambda: self._unfollowed(request, admission)
        )
        self._in_flight.add(request.key if admission and request.key else request.request_id, call)
        await stack.enter_async_context(call.join())
        self._count("miss")
        return PendingCompletion(request.request_id, "model", admission.limit_status if admission else None, call)

    async def _follow(
        self, request: CompletionRequest, admission: Follower, stack: AsyncExitStack
    ) -> PendingCompletion | None:
        """Join a call in this process, whose text is streamed, or wait for the result of another gateway's call."""
        call = self._in_flight.get(request.key or "")
        if call is not None:
            stack.push_async_callback(self._shared_calls.leave, admission.leader, request.request_id)
            await stack.enter_async_context(call.join())
            self._count("coalesced")
            return PendingCompletion(request.request_id, "coalesced", admission.limit_status, call)
        began = perf_counter()
        result = await self._shared_calls.follow(admission.leader, request.request_id)
        raise_error(result, request.upstream.name)
        completed = None if result.value is None else _read(result.value, request)
        if completed is None:
            return None
        self._count("coalesced")
        free = completed.without_cost(perf_counter() - began)
        return PendingCompletion(request.request_id, "coalesced", admission.limit_status, free)

    async def _call(
        self, request: CompletionRequest, call: InFlightCall[CompletedCall], admission: Leader | None
    ) -> CompletedCall:
        """Make the call, and settle its usage however it ends."""
        upstream, principal = request.upstream, request.options.principal
        attempts, began = Attempts(upstream, request.detail, call, Deadline.after(self._call_timeout_s)), perf_counter()
        async with self._reservations.open(request.request_id, principal, upstream, admission) as reservation:
            try:
                async with upstream.concurrency.acquire(reservation.sent):
                    attempts.waited_s = perf_counter() - began
                    await self._reservations.mark_sent(reservation, principal, upstream)
                    answer, completion = await attempts.answer(request.prompt)
            except ConvictionError as error:
                reservation.result = CallResult(error=error.code, retry_after=error.retry_after)
                raise
            finally:
                reservation.usage = attempts.usage
            # A restarted server may serve another model than the one in the cache key.
            ttl_s = self._cache_s if attempts.model == request.model else 0.0
            reservation.result = CallResult(COMPLETION.dump_json(completion), ttl_s)
        cost = upstream.cost(attempts.usage)
        waited = attempts.waited_s, attempts.requests, attempts.queued_s
        return CompletedCall(answer, completion, attempts.usage, cost, *waited)

    async def _unfollowed(self, request: CompletionRequest, admission: Leader | None) -> None:
        """Return once no other gateway follows the call, or the store is unavailable."""
        if admission is None or request.key is None:
            return
        try:
            await self._shared_calls.wait_unfollowed(request.request_id)
        except StoreUnavailable as error:
            log.warning("the followers of a call cannot be counted: %s", error.detail)

    def _count(self, result: CacheResult) -> None:
        self._collectors.cache[result].inc()


def _read(value: bytes, request: CompletionRequest) -> CompletedCall | None:
    """Return the completion that another call stored; None if it cannot be read."""
    read = read_completion(value, request.detail)
    return read and CompletedCall(*read, NO_USAGE, request.upstream.cost(NO_USAGE), 0.0)
