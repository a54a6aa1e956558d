"""What a request asks of a model, and what it gets: wherever the answer comes from, the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from time import perf_counter
from typing import Literal, Protocol
from uuid import uuid4

from pydantic_core import to_json

from app.backends.base import NOTHING, Completion, Usage
from app.contract.prompt import Detail, Message
from app.contract.recommendation import Answer
from app.pricing.prices import Cost
from app.deadline import Deadline
from app.completions.single_flight import Flight
from app.auth.principal import Holder
from app.backends.upstream import Lane
from app.accounting.limit_status import Standing

Source = Literal["model", "cache", "coalesced"]


@dataclass(frozen=True)
class Terms:
    """Who asks, until when, and whether an answer to the same prompt that was or is being given will do."""

    holder: Holder
    deadline: Deadline
    fresh: bool = False
    """Not one from the cache (`no-cache`)."""
    alone: bool = False
    """Neither from the cache nor shared, nor left for others (`no-store`, comparisons)."""


@dataclass(frozen=True)
class Made:
    """What a call gave, and took of whoever pays for it."""

    answer: Answer
    completion: Completion
    usage: Usage
    cost: Cost
    waited_s: float
    """Time spent waiting for the backend."""

    def free(self, waited_s: float = 0.0) -> Made:
        """The same for one who did not pay, and waited so long for it."""
        nothing = replace(self.cost, nano_usd=0, usd_per_1k=Decimal(0))
        return replace(self, usage=NOTHING, cost=nothing, waited_s=waited_s)


@dataclass(frozen=True)
class Inquiry:
    """A prompt for a backend, and the terms on which it is asked."""

    lane: Lane
    prompt: Sequence[Message]
    detail: Detail
    terms: Terms
    request_id: str = field(default_factory=lambda: uuid4().hex)

    @cached_property
    def model(self) -> str:
        """What is asked for, as it was known first; empty while it is not."""
        return self.lane.backend.model

    @cached_property
    def key(self) -> str | None:
        """What every inquiry has in common that the same answer does for: all that the model is asked, and which
        model. None where none but its own will do, or where the model is not known."""
        if self.terms.alone or not self.model:
            return None
        asked = self.lane.backend.body(self.prompt, self.detail)
        return sha256(to_json([self.lane.name, self.model, asked])).hexdigest()


class Asking(Protocol):
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
    def standing(self) -> Standing | None:
        """Where the limits stand; None where the store could not say."""
        ...

    def texts(self) -> AsyncGenerator[str, None]:
        """The model's text, in pieces as they come."""
        ...

    async def made(self) -> Made:
        """The answer, once it is there; raises what went wrong with it."""
        ...


@dataclass(frozen=True)
class Known:
    """An answer that is there already."""

    request_id: str
    given: Made
    source: Source
    age_s: float | None
    standing: Standing | None

    async def texts(self) -> AsyncGenerator[str, None]:
        yield self.given.completion.text

    async def made(self) -> Made:
        return self.given


@dataclass(frozen=True)
class Awaited:
    """An answer that a call under way here will give."""

    request_id: str
    flight: Flight[Made]
    source: Source
    standing: Standing | None
    age_s: float | None = None

    def texts(self) -> AsyncGenerator[str, None]:
        return self.flight.texts()

    async def made(self) -> Made:
        began = perf_counter()
        made = await self.flight.result()
        return made if self.source == "model" else made.free(perf_counter() - began)
