"""Asking a backend until its answer is one, and what all the asking used."""

from __future__ import annotations

from collections.abc import Sequence

from app.backends.base import Backend, Completion, Usage
from app.contract import recommendation as contract
from app.contract.prompt import Detail, Message
from app.errors import UnparsedAnswer
from app.metrics import BackendMeters
from app.stopwatch import Stopwatch

MOST = 2
"""Calls for one answer: a text that is none is asked for once more."""

NOTHING = Usage(0, 0)


class Attempts:
    """The calls made for one answer; `usage` adds up the tokens of all of them."""

    def __init__(self, backend: Backend, meters: BackendMeters) -> None:
        self.usage = NOTHING
        self._backend = backend
        self._meters = meters

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
                completion = await self._backend.complete(prompt, detail)
            self.usage = _sum(self.usage, completion.usage)
            return contract.parse(detail, completion.text), completion
        except UnparsedAnswer as error:
            self.usage = _sum(self.usage, error.usage or NOTHING)
            self._meters.unparsed.inc()
            raise
        except contract.UnparsedAnswer as error:
            self._meters.unparsed.inc()
            raise UnparsedAnswer(f"{self._backend.name} gave no valid answer: {error}") from error


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + min(other.cached_tokens, other.prompt_tokens),
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
    )
