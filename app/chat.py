"""The flow of a chat completion that is passed through: admitted, sent as it is, and booked as what it told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from app.asking import Terms
from app.backends.base import NOTHING, ChatStream, Usage
from app.costs import Cost
from app.lane import TEMPLATE_TOKENS, Lane
from app.resources import Resources
from app.stores.allowance import Estimate
from app.stores.standing import Standing

ANSWER_TOKENS = 4096
"""The most that an answer may take whose request sets no limit: the gateway sets this one."""
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
    request_id, bookings = uuid4().hex, resources.bookings
    lane.gate.check()
    bounded = _bounded(body)
    admission = await bookings.admit(request_id, terms.holder, lane, _at_most(bounded, lane))
    opening = bookings.open(request_id, lane) if admission else bookings.without(lane)
    limit = terms.deadline.limit(f"no answer within {terms.deadline.seconds:g} s")
    async with limit, opening as booking, lane.gate.entered():
        await bookings.sending(booking)
        async with lane.backend.chat(bounded, terms.deadline) as stream:
            chatting = Chatting(stream, admission.standing if admission else None)
            try:
                yield chatting
            finally:
                booking.usage = chatting.usage = stream.usage or NOTHING
                chatting.cost = lane.cost(booking.usage)


def _bounded(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with a limit to its answer, which a budget cannot do without."""
    return body if any(body.get(name) for name in LIMITS) else {**body, LIMITS[0]: ANSWER_TOKENS}


def _at_most(body: Mapping[str, Any], lane: Lane) -> Estimate:
    """The most that it can take: a token is at least a byte of what is sent."""
    answer_tokens = max(body.get(name) or 0 for name in LIMITS)
    usage = Usage(len(to_json(body)) + TEMPLATE_TOKENS, (body.get("n") or 1) * answer_tokens)
    nano_usd = 0 if lane.price is None else lane.price.cost(usage).nano_usd
    return Estimate(usage.prompt_tokens + usage.completion_tokens, nano_usd)
