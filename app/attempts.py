"""Asking a backend until its answer is one, and what all the asking used."""

from __future__ import annotations

from collections.abc import Sequence

from app.backends.base import NOTHING, Backend, Completion, Usage
from app.contract import recommendation as contract
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import UnparsedAnswer
from app.metrics import BackendMeters
from app.stopwatch import Stopwatch

MOST = 2
"""Calls for one answer: a text that is none is asked for once more."""


class Attempts:
    """The calls made for one answer by its deadline; `usage` adds up the tokens of all of them, however they ended."""

    def __init__(self, backend: Backend, meters: BackendMeters, deadline: Deadline) -> None:
        self.usage = NOTHING
        self._backend = backend
        self._meters = meters
        self._deadline = deadline

    async def answer(
        self, prompt: Sequence[Message], detail: Detail, watch: Stopwatch
    ) -> tuple[contract.Answer, Completion]:
        """The first valid answer and the call that gave it; `UnparsedAnswer` if no attempt gave one."""
        for _ in range(MOST - 1):
            try:
                return await self._once(prompt, detail, watch)
            except UnparsedAnswer:
                continue
        return await self._once(prompt, detail, watch)

    async def _once(
        self, prompt: Sequence[Message], detail: Detail, watch: Stopwatch
    ) -> tuple[contract.Answer, Completion]:
        try:
            with watch.waiting():
                completion = await self._call(prompt, detail)
            return contract.parse(detail, completion.text), completion
        except UnparsedAnswer:
            self._meters.unparsed.inc()
            raise
        except contract.UnparsedAnswer as error:
            self._meters.unparsed.inc()
            raise UnparsedAnswer(f"{self._backend.name} gave no valid answer: {error}") from error

    async def _call(self, prompt: Sequence[Message], detail: Detail) -> Completion:
        async with self._backend.answer(prompt, detail, self._deadline) as stream:
            try:
                async for _ in stream:
                    pass
                return stream.completion
            finally:
                self.usage = _sum(self.usage, stream.usage)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + min(other.cached_tokens, other.prompt_tokens),
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
    )
