"""What a request asks of a model, and what it gets: wherever the answer comes from, the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from time import perf_counter
from typing import Protocol
from uuid import uuid4

from pydantic_core import to_json

from app.accounting.limit_status import LimitStatus
from app.auth.principal import Principal
from app.backends.upstream import Upstream
from app.completions.single_flight import InFlightCall
from app.contract.completion import NOTHING, Completion, Usage
from app.contract.prompt import Detail, Message
from app.contract.recommendation import Answer
from app.deadline import Deadline
from app.pricing.prices import Cost
from app.recommendation import Source


@dataclass(frozen=True)
class RequestOptions:
    """Who asks, until when, and whether an answer to the same prompt that was or is being given will do."""

    principal: Principal
    deadline: Deadline
    fresh: bool = False
    """Not one from the cache (`no-cache`)."""
    alone: bool = False
    """Neither from the cache nor shared, nor left for others (`no-store`, comparisons)."""


@dataclass(frozen=True)
class CompletedCall:
    """What a call gave, and took of whoever pays for it."""

    answer: Answer
    completion: Completion
    usage: Usage
    cost: Cost
    waited_s: float
    """Time spent waiting for the backend."""

    def free(self, waited_s: float = 0.0) -> CompletedCall:
        """The same for one who did not pay, and waited so long for it."""
        nothing = replace(self.cost, nano_usd=0, usd_per_1k=Decimal(0))
        return replace(self, usage=NOTHING, cost=nothing, waited_s=waited_s)


@dataclass(frozen=True)
class CompletionRequest:
    """A prompt for a backend, and the terms on which it is asked."""

    upstream: Upstream
    prompt: Sequence[Message]
    detail: Detail
    terms: RequestOptions
    request_id: str = field(default_factory=lambda: uuid4().hex)

    @cached_property
    def model(self) -> str:
        """What is asked for, as it was known first; empty while it is not."""
        return self.upstream.backend.model

    @cached_property
    def key(self) -> str | None:
        """What every inquiry has in common that the same answer does for: all that the model is asked, and which
        model. None where none but its own will do, or where the model is not known."""
        if self.terms.alone or not self.model:
            return None
        asked = self.upstream.backend.body(self.prompt, self.detail)
        return sha256(to_json([self.upstream.name, self.model, asked])).hexdigest()


class PendingCompletion(Protocol):
    """An answer on its way."""

    @property
    def request_id(self) -> str: ...

    @property
    def source(self) -> Source: ...

    @property
    def age_s(self) -> float | None:
        """Of an answer from the cache."""
        ...

    @property
    def limit_status(self) -> LimitStatus | None:
        """Where the limits stand; None where the store could not say."""
        ...

    def texts(self) -> AsyncGenerator[str, None]:
        """The model's text, in pieces as they come."""
        ...

    async def made(self) -> CompletedCall:
        """The answer, once it is there; raises what went wrong with it."""
        ...


@dataclass(frozen=True)
class CachedCompletion:
    """An answer that is there already."""

    request_id: str
    given: CompletedCall
    source: Source
    age_s: float | None
    limit_status: LimitStatus | None

    async def texts(self) -> AsyncGenerator[str, None]:
        yield self.given.completion.text

    async def made(self) -> CompletedCall:
        return self.given


@dataclass(frozen=True)
class SharedCompletion:
    """An answer that a call under way here will give."""

    request_id: str
    flight: InFlightCall[CompletedCall]
    source: Source
    limit_status: LimitStatus | None
    age_s: float | None = None

    def texts(self) -> AsyncGenerator[str, None]:
        return self.flight.texts()

    async def made(self) -> CompletedCall:
        began = perf_counter()
        made = await self.flight.result()
        return made if self.source == "model" else made.free(perf_counter() - began)
