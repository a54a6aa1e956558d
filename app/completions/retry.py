"""Asking a backend until its answer is one, and what all the asking used."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from app.backends.upstream import Upstream
from app.completions.single_flight import InFlightCall
from app.contract import recommendation as contract
from app.contract.completion import NOTHING, Completion, Usage
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import UnparsedAnswer
from app.telemetry.tracing import generation_span, usage_attributes

MOST = 2
"""Calls for one answer: a text that is none is asked for once more, unless somebody has heard a part of it."""


class Attempts:
    """The calls made for one answer by its deadline; `usage` adds up the tokens of all of them, however they ended."""

    def __init__(self, upstream: Upstream, detail: Detail, flight: InFlightCall[Any], deadline: Deadline) -> None:
        self.usage = NOTHING
        self.asked = ""
        """The model that the latest call asked for."""
        self.waited_s = 0.0
        """Time spent waiting for the backend."""
        self._upstream, self._detail, self._in_flight_call, self._deadline = upstream, detail, flight, deadline

    async def answer(self, prompt: Sequence[Message]) -> tuple[contract.Answer, Completion]:
        """The first valid answer and the call that gave it; `UnparsedAnswer` if no attempt gave one."""
        for _ in range(MOST - 1):
            try:
                return await self._once(prompt)
            except UnparsedAnswer:
                if self._in_flight_call.heard:
                    raise
                self._in_flight_call.again()
        return await self._once(prompt)

    async def _once(self, prompt: Sequence[Message]) -> tuple[contract.Answer, Completion]:
        try:
            completion = await self._call(prompt)
            return contract.parse(self._detail, completion.text), completion
        except UnparsedAnswer:
            self._upstream.meters.unparsed.inc()
            raise
        except contract.UnparsedAnswer as error:
            self._upstream.meters.unparsed.inc()
            raise UnparsedAnswer(f"{self._upstream.name} gave no valid answer: {error}") from error

    async def _call(self, prompt: Sequence[Message]) -> Completion:
        backend = self._upstream.backend
        with generation_span(backend.name) as call:
            async with backend.answer(prompt, self._detail, self._deadline) as stream:
                began = perf_counter()
                try:
                    async for text in stream:
                        self._in_flight_call.tell(text)
                    return stream.completion
                finally:
                    self.waited_s += perf_counter() - began
                    self.usage, self.asked = _sum(self.usage, stream.usage), stream.requested_model
                    call.set_attributes(usage_attributes(stream.requested_model, stream.usage))


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + min(other.cached_tokens, other.prompt_tokens),
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
    )
