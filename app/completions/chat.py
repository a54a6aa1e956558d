"""The flow of a chat completion that is passed through: admitted, sent as it is, and booked as what it told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from app.completions.request import Terms
from app.backends.base import NOTHING, BackendName, ChatStream, Usage
from app.pricing.prices import Cost
from app.backends.upstream import TEMPLATE_TOKENS, Lane
from app.resources import Resources
from app.accounting.admission import Admission, Lead
from app.pricing.limits import Estimate, Scope
from app.accounting.limit_status import Standing
from app.telemetry.tracing import generation, used

ANSWER_TOKENS: Mapping[BackendName, int] = {"mistral": 2048, "gpt-4": 4096}
"""The most that an answer is thought to take whose request sets no limit, and may take where tokens or money are
limited. (vLLM refuses a limit beyond its model's length.)"""
LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass
class Chatting:
    """A chat completion on its way; `usage` and `cost` are known once it has ended."""

    stream: ChatStream
    standing: Standing | None
    usage: Usage = field(default=NOTHING)
    cost: Cost | None = None


@asynccontextmanager
async def chat(body: Mapping[str, Any], lane: Lane, terms: Terms, resources: Resources) -> AsyncIterator[Chatting]:
    """Pass a chat completion through; whoever leaves the context early hangs up. Raises the errors of `app.errors`."""
    began, request_id, bookings = perf_counter(), uuid4().hex, resources.bookings
    lane.gate.check()
    bounded = body if any(body.get(name) for name in LIMITS) else _bounded(body, terms.holder.scope, lane)
    admission = await bookings.admit(request_id, terms.holder, lane, _at_most(bounded, lane))
    opening = bookings.without(lane) if admission is None else bookings.open(request_id, lane, _sent(admission))
    limit = terms.deadline.limit(f"no answer within {terms.deadline.seconds:g} s")
    with lane.meters.in_flight.track_inprogress():
        async with opening as booking, limit, lane.gate.entered(booking.sent):
            await bookings.sending(booking, terms.holder, lane)
            stream = lane.backend.chat(bounded, terms.deadline)
            chatting = Chatting(stream, admission.standing if admission else None)
            sent = perf_counter()
            with generation(lane.name) as call:
                try:
                    async with stream:
                        if body.get("stream") is True and stream.status == 200:
                            lane.meters.first_token.observe(perf_counter() - sent)
                        yield chatting
                finally:
                    booking.usage = chatting.usage = stream.usage or NOTHING
                    chatting.cost = lane.cost(booking.usage)
                    call.note(used(lane.backend.model, booking.usage))
    if stream.status == 200:
        lane.meters.duration.observe(perf_counter() - began)


def _sent(admission: Admission) -> bool:
    return isinstance(admission, Lead) and admission.sent


def _bounded(body: Mapping[str, Any], holder: Scope, lane: Lane) -> Mapping[str, Any]:
    """The body, with a limit to its answer where a limit of tokens or money cannot do without."""
    for allowance in (holder.allowance, lane.scope.allowance):
        if allowance.tokens_per_minute is not None or allowance.nano_usd_per_day is not None:
            return {**body, LIMITS[0]: ANSWER_TOKENS[lane.name]}
    return body


def _at_most(body: Mapping[str, Any], lane: Lane) -> Estimate:
    """The most that it can take: a token is at least a byte of what is sent."""
    answer_tokens = max(body.get(name) or 0 for name in LIMITS) or ANSWER_TOKENS[lane.name]
    usage = Usage(len(to_json(body)) + TEMPLATE_TOKENS, (body.get("n") or 1) * answer_tokens)
    nano_usd = 0 if lane.price is None else lane.price.cost(usage).nano_usd
    return Estimate(usage.prompt_tokens + usage.completion_tokens, nano_usd)
