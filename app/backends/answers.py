"""An answer while it is written: the call behind it, its text as it comes, what it uses, and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from pydantic_core import to_json

from app.backends.call import Call
from app.backends.calls import Calls
from app.backends.estimate import estimated
from app.backends.transcript import Transcript
from app.backends.upstream_errors import CallFailed, broken_off
from app.contract.completion import NOTHING, Completion, Usage
from app.contract.prompt import Message
from app.deadline import Deadline


class Answer:
    """`Stream` over one call, and the context that hangs up where it is left before the end.

    `request` makes the body for a model, with `messages` in it.
    """

    def __init__(
        self,
        calls: Calls,
        request: Callable[[str], Mapping[str, Any]],
        messages: Sequence[Message],
        deadline: Deadline,
    ) -> None:
        self._calls, self._request, self._messages, self._deadline = calls, request, messages, deadline
        self._call: Call | None = None
        self._said = Transcript(calls.name, "")
        self.asked = ""
        self._sent = self._ended = False
        self._started = self._heard = 0.0
        self._first: float | None = None
        self._completion: Completion | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        try:
            call = self._call or await self._begin()
            while not (said := self._said.take()):
                if self._said.done or not await self._receive(call):
                    await self._finish(call)
                    raise StopAsyncIteration
        except CallFailed as failure:
            self._fail(failure)
            raise failure.error from None
        return said

    @property
    def usage(self) -> Usage:
        if not self._sent:
            return NOTHING
        return self._said.told or estimated(self._messages, self._said.pieces)

    @property
    def completion(self) -> Completion:
        assert self._completion is not None, "the answer has not come to its end"
        return self._completion

    async def _begin(self) -> Call:
        self._started = perf_counter()
        self._call = await self._calls.begin(self._body, self._begun, self._deadline)
        return self._call

    def _body(self, model: str) -> bytes:
        self._said = Transcript(self._calls.name, model)
        self._sent, self.asked = True, model
        return to_json(self._request(model))

    async def _begun(self, call: Call) -> None:
        said = self._said
        said.stand_in = call.response.headers.get("X-Stand-In") == "true"
        while not (said.begun or said.done) and await self._receive(call):
            pass
        if not said.begun and said.finish_reason is None:
            raise broken_off(self._calls.name)

    async def _receive(self, call: Call) -> bool:
        """Take in what comes next; False where the response has ended."""
        piece = await call.read()
        arrived = perf_counter()
        try:
            self._said.feed(piece)
        except ValueError:
            raise broken_off(self._calls.name) from None
        self._heard = perf_counter()
        if self._first is None and self._said.begun:
            self._first = arrived - self._started
        return bool(piece)

    async def _finish(self, call: Call) -> None:
        self._ended = True
        if self._said.finish_reason is None:
            raise broken_off(self._calls.name)
        await call.drain()
        call.end(well=True)
        self._completion = self._said.completion(self._first, self._heard - self._started)

    def _fail(self, failure: CallFailed) -> None:
        self._ended = True
        self._sent = failure.unanswered
        if self._call is not None:
            self._call.fail(failure)
