"""Repeating a call whose text is not a valid answer, and the usage of all its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from app.backends.upstream import Upstream
from app.completions.single_flight import InFlightCall
from app.contract import recommendation as contract
from app.contract.completion import NO_USAGE, Completion, Usage
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import UnparsedAnswer
from app.telemetry.generation import generation

MAX_ATTEMPTS = 2


class Attempts:
    """The attempts at one call until its deadline; `usage` is the sum over all of them, failed ones included."""

    def __init__(self, upstream: Upstream, detail: Detail, call: InFlightCall[Any], deadline: Deadline) -> None:
        self.usage = NO_USAGE
        self.model = ""
        """The model that the latest attempt requested."""
        self.waited_s = 0.0
        """Seconds spent waiting for the backend."""
        self.requests = 0
        """Requests that were sent to the backend's servers."""
        self.queued_s = 0.0
        """Seconds from the creation until the latest request was sent."""
        self._created = perf_counter()
        self._upstream, self._detail, self._call, self._deadline = upstream, detail, call, deadline

    async def answer(self, prompt: Sequence[Message]) -> tuple[contract.Answer, Completion]:
        """Return the first valid answer and its completion.

        Raises `UnparsedAnswer` after `MAX_ATTEMPTS`, or when a waiter has received some of the invalid text.
        """
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return await self._attempt(prompt)
            except UnparsedAnswer:
                if self._call.delivered:
                    raise
                self._call.restart()
        return await self._attempt(prompt)

    async def _attempt(self, prompt: Sequence[Message]) -> tuple[contract.Answer, Completion]:
        try:
            completion = await self._complete(prompt)
            return contract.parse(self._detail, completion.text), completion
        except UnparsedAnswer:
            self._upstream.meters.unparsed.inc()
            raise
        except contract.UnparsedAnswer as error:
            self._upstream.meters.unparsed.inc()
            raise UnparsedAnswer(f"{self._upstream.name} gave no valid answer: {error}") from error

    async def _complete(self, prompt: Sequence[Message]) -> Completion:
        backend = self._upstream.backend
        with generation(backend.name) as call:
            async with backend.answer(prompt, self._detail, self._deadline) as stream:
                began = perf_counter()
                try:
                    async for text in stream:
                        self._call.write(text)
                    call.answered(stream.completion.model)
                    return stream.completion
                finally:
                    self.waited_s += perf_counter() - began
                    self.requests, self.queued_s = self.requests + stream.attempts, stream.sent_at - self._created
                    self.usage, self.model = _sum(self.usage, stream.usage), stream.requested_model
                    call.sent(stream.requested_model, stream.usage)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + min(other.cached_tokens, other.prompt_tokens),
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
    )
