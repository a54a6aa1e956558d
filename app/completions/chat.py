"""A chat completion that is passed through: admitted, sent unchanged, and settled by the usage it reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from app.accounting.admission_result import Leader
from app.accounting.limit_status import LimitStatus
from app.accounting.reservations import Reservations
from app.backends.base import ChatStream
from app.backends.upstream import TEMPLATE_TOKENS, Upstream
from app.completions.request import RequestOptions
from app.contract.completion import NO_USAGE, BackendName, Usage
from app.pricing.limits import Estimate, Scope
from app.pricing.prices import Cost
from app.telemetry.tracing import generation_span, usage_attributes

ANSWER_TOKENS: Mapping[BackendName, int] = {"mistral": 2048, "gpt-4": 4096}
"""The completion tokens assumed for a request without a limit, and its limit where tokens or money are limited.
(vLLM rejects a limit beyond its model's context length.)"""
LIMITS = ("max_completion_tokens", "max_tokens")


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
    admission = await reservations.admit(request_id, options.principal, upstream, _estimate(bounded, upstream))
    assert admission is None or isinstance(admission, Leader), "a chat completion has no call key"
    opened = reservations.open(request_id, upstream, admission)
    limit = options.deadline.limit(f"no answer within {options.deadline.seconds:g} s")
    with upstream.meters.in_flight.track_inprogress():
        async with opened as reservation, limit, upstream.concurrency.acquire(reservation.sent):
            await reservations.mark_sent(reservation, options.principal, upstream)
            stream = upstream.backend.chat(bounded, options.deadline)
            pending = PendingChat(stream, admission.limit_status if admission else None)
            sent = perf_counter()
            with generation_span(upstream.name) as span:
                try:
                    async with stream:
                        if body.get("stream") is True and stream.status == 200:
                            upstream.meters.first_token.observe(perf_counter() - sent)
                        yield pending
                finally:
                    reservation.usage = pending.usage = stream.usage or NO_USAGE
                    pending.cost = upstream.cost(reservation.usage)
                    span.set_attributes(usage_attributes(upstream.backend.model, reservation.usage))
    if stream.status == 200:
        upstream.meters.duration.observe(perf_counter() - began)


def _bounded(body: Mapping[str, Any], principal: Scope, upstream: Upstream) -> Mapping[str, Any]:
    """Return the body, with a limit of completion tokens if tokens or money are limited."""
    for limits in (principal.limits, upstream.scope.limits):
        if limits.tokens_per_minute is not None or limits.nano_usd_per_day is not None:
            return {**body, LIMITS[0]: ANSWER_TOKENS[upstream.name]}
    return body


def _estimate(body: Mapping[str, Any], upstream: Upstream) -> Estimate:
    """Return the most that the call can use: a token has at least one byte."""
    answer_tokens = max(body.get(name) or 0 for name in LIMITS) or ANSWER_TOKENS[upstream.name]
    usage = Usage(len(to_json(body)) + TEMPLATE_TOKENS, (body.get("n") or 1) * answer_tokens)
    nano_usd = 0 if upstream.price is None else upstream.price.cost(usage).nano_usd
    return Estimate(usage.prompt_tokens + usage.completion_tokens, nano_usd)
