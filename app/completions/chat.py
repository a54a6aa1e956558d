"""The flow of a chat completion that is passed through: admitted, sent as it is, and booked as what it told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from app.accounting.admission import Admission, Leader
from app.accounting.limit_status import LimitStatus
from app.accounting.reservations import Reservations
from app.backends.base import ChatStream
from app.backends.upstream import TEMPLATE_TOKENS, Upstream
from app.completions.request import RequestOptions
from app.contract.completion import NOTHING, BackendName, Usage
from app.pricing.limits import Estimate, Scope
from app.pricing.prices import Cost
from app.telemetry.tracing import generation_span, usage_attributes

ANSWER_TOKENS: Mapping[BackendName, int] = {"mistral": 2048, "gpt-4": 4096}
"""The most that an answer is thought to take whose request sets no limit, and may take where tokens or money are
limited. (vLLM refuses a limit beyond its model's length.)"""
LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass
class Chatting:
    """A chat completion on its way; `usage` and `cost` are known once it has ended."""

    stream: ChatStream
    limit_status: LimitStatus | None
    usage: Usage = field(default=NOTHING)
    cost: Cost | None = None


@asynccontextmanager
async def chat(
    body: Mapping[str, Any], upstream: Upstream, options: RequestOptions, reservations: Reservations
) -> AsyncIterator[Chatting]:
    """Pass a chat completion through; whoever leaves the context early hangs up. Raises the errors of `app.errors`."""
    began, request_id = perf_counter(), uuid4().hex
    upstream.gate.check()
    bounded = body if any(body.get(name) for name in LIMITS) else _bounded(body, options.principal.scope, upstream)
    admission = await reservations.admit(request_id, options.principal, upstream, _at_most(bounded, upstream))
    opening = (
        reservations.without(upstream)
        if admission is None
        else reservations.open(request_id, upstream, _sent(admission))
    )
    limit = options.deadline.limit(f"no answer within {options.deadline.seconds:g} s")
    with upstream.meters.in_flight.track_inprogress():
        async with opening as reservation, limit, upstream.gate.entered(reservation.sent):
            await reservations.sending(reservation, options.principal, upstream)
            stream = upstream.backend.chat(bounded, options.deadline)
            chatting = Chatting(stream, admission.limit_status if admission else None)
            sent = perf_counter()
            with generation_span(upstream.name) as call:
                try:
                    async with stream:
                        if body.get("stream") is True and stream.status == 200:
                            upstream.meters.first_token.observe(perf_counter() - sent)
                        yield chatting
                finally:
                    reservation.usage = chatting.usage = stream.usage or NOTHING
                    chatting.cost = upstream.cost(reservation.usage)
                    call.set_attributes(usage_attributes(upstream.backend.model, reservation.usage))
    if stream.status == 200:
        upstream.meters.duration.observe(perf_counter() - began)


def _sent(admission: Admission) -> bool:
    return isinstance(admission, Leader) and admission.sent


def _bounded(body: Mapping[str, Any], principal: Scope, upstream: Upstream) -> Mapping[str, Any]:
    """The body, with a limit to its answer where a limit of tokens or money cannot do without."""
    for limits in (principal.limits, upstream.scope.limits):
        if limits.tokens_per_minute is not None or limits.nano_usd_per_day is not None:
            return {**body, LIMITS[0]: ANSWER_TOKENS[upstream.name]}
    return body


def _at_most(body: Mapping[str, Any], upstream: Upstream) -> Estimate:
    """The most that it can take: a token is at least a byte of what is sent."""
    answer_tokens = max(body.get(name) or 0 for name in LIMITS) or ANSWER_TOKENS[upstream.name]
    usage = Usage(len(to_json(body)) + TEMPLATE_TOKENS, (body.get("n") or 1) * answer_tokens)
    nano_usd = 0 if upstream.price is None else upstream.price.cost(usage).nano_usd
    return Estimate(usage.prompt_tokens + usage.completion_tokens, nano_usd)
