"""A chat completion that is passed through: admitted, sent unchanged, and settled by the usage it reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any
from uuid import uuid4

from app.accounting.admission_result import Leader
from app.accounting.limit_status import LimitStatus
from app.accounting.reservations import Reservations
from app.backends.base import ChatStream
from app.backends.chat_tokens import LIMITS, max_usage
from app.backends.upstream import Upstream
from app.completions.request import RequestOptions
from app.contract.completion import NO_USAGE, BackendName, Usage
from app.pricing.limits import Estimate, Scope
from app.pricing.prices import Cost, ListPrice
from app.telemetry.generation import generation

ANSWER_TOKENS: Mapping[BackendName, int] = {"mistral": 2048, "gpt-4": 4096, "candidate": 2048}
"""The completion tokens assumed for a request without a limit, and its limit where tokens or money are limited.
(vLLM rejects a limit beyond its model's context length.)"""


@dataclass
class PendingChat:
    """A chat completion in flight; `usage` and `cost` are known once it has ended."""

    stream: ChatStream
    limit_status: LimitStatus | None
    usage: Usage = field(default=NO_USAGE)
    cost: Cost | None = None


@asynccontextmanager
async def chat(
    body: Mapping[str, Any], upstream: Upstream, options: RequestOptions, reservations: Reservations
) -> AsyncIterator[PendingChat]:
    """Yield the chat completion; leaving the context early cancels the call. Raises the errors of `app.errors`."""
    began, request_id = perf_counter(), uuid4().hex
    upstream.concurrency.check()
    bounded = body if any(body.get(name) for name in LIMITS) else _bounded(body, options.principal.scope, upstream)
    reasons = isinstance(upstream.price, ListPrice) and upstream.price.reasons
    most = max_usage(bounded, ANSWER_TOKENS[upstream.name], reasons)
    admission = await reservations.admit(request_id, options.principal, upstream, _estimate(most, upstream))
    assert admission is None or isinstance(admission, Leader), "a chat completion has no call key"
    opened = reservations.open(request_id, options.principal, upstream, admission)
    limit = options.deadline.limit(f"no answer within {options.deadline.seconds:g} s")
    with upstream.meters.in_flight.track_inprogress():
        async with opened as reservation, limit, upstream.concurrency.acquire(reservation.sent):
            await reservations.mark_sent(reservation, options.principal, upstream)
            stream = upstream.backend.chat(bounded, options.deadline)
            pending = PendingChat(stream, admission.limit_status if admission else None)
            with generation(upstream.name) as call:
                try:
                    async with stream:
                        if body.get("stream") is True and stream.status == 200:
                            upstream.meters.first_token["chat"].observe(perf_counter() - stream.sent_at)
                        yield pending
                finally:
                    reservation.usage = pending.usage = _used(stream.usage, most)
                    pending.cost = upstream.cost(reservation.usage)
                    call.sent(upstream.backend.model, reservation.usage)
    if stream.status == 200:
        upstream.meters.duration["chat"].observe(perf_counter() - began)


def _bounded(body: Mapping[str, Any], principal: Scope, upstream: Upstream) -> Mapping[str, Any]:
    """Return the body, with a limit of completion tokens if tokens or money are limited."""
    for limits in (principal.limits, upstream.scope.limits):
        if limits.tokens_per_minute is not None or limits.nano_usd_per_day is not None:
            return {**body, LIMITS[0]: ANSWER_TOKENS[upstream.name]}
    return body


def _estimate(most: Usage, upstream: Upstream) -> Estimate:
    nano_usd = 0 if upstream.price is None else upstream.price.cost(most).nano_usd
    return Estimate(most.prompt_tokens + most.completion_tokens, nano_usd)


def _used(usage: Usage | None, most: Usage) -> Usage:
    """Return the usage to book: of an estimate at most the reserved completion, and all if thinking may be hidden."""
    if usage is None or not usage.estimated:
        return usage or NO_USAGE
    completion = most.completion_tokens if most.reasoning_tokens else usage.completion_tokens
    return replace(usage, completion_tokens=min(completion, most.completion_tokens))
