"""A request for a completion and its outcome, which has one type whatever its source."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from time import perf_counter
from uuid import uuid4

from pydantic_core import to_json

from app.accounting.limit_status import LimitStatus
from app.auth.principal import Principal
from app.backends.upstream import Upstream
from app.completions.shared_result import VERSION
from app.completions.single_flight import InFlightCall
from app.contract.completion import NO_USAGE, Completion, Usage
from app.contract.prompt import Detail, Message
from app.contract.recommendation import Answer
from app.deadline import Deadline
from app.errors import ConvictionError
from app.pricing.prices import Cost
from app.recommendation import Source


@dataclass(frozen=True)
class RequestOptions:
    """The principal and deadline of a request, and which shared results it accepts."""

    principal: Principal
    deadline: Deadline
    fresh: bool = False
    """Do not read the cache (`no-cache`)."""
    counted: bool = False
    """Whether the request was counted against request limits before its admission."""
    alone: bool = False
    """Neither read the cache nor share the call, nor cache its result (`no-store`, comparisons)."""


@dataclass(frozen=True)
class CompletedCall:
    """The result of a call, and what its payer is charged."""

    answer: Answer
    completion: Completion
    usage: Usage
    cost: Cost
    waited_s: float
    """Seconds spent waiting for the backend."""
    attempts: int = 0
    """Requests that were sent to the backend's servers."""
    queued_s: float = 0.0
    """Seconds until the last of them was sent: in the queue, and on earlier attempts."""

    async def texts(self) -> AsyncGenerator[str, None]:
        """Yield the whole text."""
        yield self.completion.text

    def without_cost(self, waited_s: float) -> CompletedCall:
        """Return the result for a request that did not pay for it and waited `waited_s` seconds."""
        free = replace(self.cost, nano_usd=0, usd_per_1k=Decimal(0))
        return replace(self, usage=NO_USAGE, cost=free, waited_s=waited_s)


@dataclass(frozen=True)
class CompletionRequest:
    """A prompt for a backend."""

    upstream: Upstream
    prompt: Sequence[Message]
    detail: Detail
    options: RequestOptions
    request_id: str = field(default_factory=lambda: uuid4().hex)

    @cached_property
    def model(self) -> str:
        """The requested model, as first known; empty if unknown."""
        return self.upstream.backend.model

    @cached_property
    def key(self) -> str | None:
        """The hash of everything that determines the result; None if it cannot be shared, or the model is unknown."""
        if self.options.alone or not self.model:
            return None
        body = self.upstream.backend.body(self.prompt, self.detail)
        return sha256(to_json([VERSION, self.upstream.name, self.model, body])).hexdigest()


@dataclass(frozen=True)
class PendingCompletion:
    """A completion that is there already, or that a call in this process will return."""

    request_id: str
    source: Source
    limit_status: LimitStatus | None
    """None if the store was unavailable."""
    call: InFlightCall[CompletedCall] | CompletedCall
    age_s: float | None = None
    """Of a completion from the cache."""

    def texts(self) -> AsyncGenerator[str, None]:
        """Yield the model's text in pieces as it is written."""
        return self.call.texts()

    async def result(self) -> CompletedCall:
        """Return the result. Raises the call's error."""
        if isinstance(self.call, CompletedCall):
            return self.call
        if self.source == "model":
            return await self.call.result()
        began = perf_counter()
        try:
            completed = await self.call.result()
        except ConvictionError as error:
            raise error.of_shared_call() from None
        return completed.without_cost(perf_counter() - began)
