"""A completion in progress: its call, its text as it arrives, its usage and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from pydantic_core import to_json

from app.backends.accumulator import Accumulator
from app.backends.call import Call, CallContext
from app.backends.dispatcher import Dispatcher
from app.backends.estimate import estimate_usage
from app.backends.upstream_errors import CallFailed, invalid_response
from app.contract.completion import NO_USAGE, Completion, Usage
from app.contract.prompt import Message
from app.deadline import Deadline


class CompletionStream(CallContext):
    """`Stream` over one call, which is cancelled when the context is left early.

    `build_body` returns the body for a model, with `messages` in it. The model may reason for `reasoning_tokens`,
    unseen: without a reported usage they count as used.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        build_body: Callable[[str], Mapping[str, Any]],
        messages: Sequence[Message],
        deadline: Deadline,
        reasoning_tokens: int = 0,
    ) -> None:
        self._dispatcher, self._build_body = dispatcher, build_body
        self._messages, self._deadline, self._reasoning_tokens = messages, deadline, reasoning_tokens
        self._received = Accumulator(dispatcher.name, "")
        self.requested_model = ""
        self.attempts = 0
        self.sent_at = self._received_at = 0.0
        self._sent = self._ended = False
        self._time_to_first_token: float | None = None
        self._completion: Completion | None = None

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        try:
            call = self._call or await self._start()
            while not (text := self._received.take_text()):
                if self._received.done or not await self._receive(call):
                    await self._finish(call)
                    raise StopAsyncIteration
        except CallFailed as failure:
            self._ended = True
            self._sent = failure.outcome_unknown
            if self._call is not None:
                self._call.fail(failure)
            raise failure.error from None
        return text

    @property
    def usage(self) -> Usage:
        if not self._sent:
            return NO_USAGE
        output_tokens = self._reasoning_tokens + self._received.text_events
        return self._received.usage or estimate_usage(self._messages, output_tokens)

    @property
    def completion(self) -> Completion:
        assert self._completion is not None, "the stream has not ended"
        return self._completion

    async def _start(self) -> Call:
        self._call = await self._dispatcher.start(self._body, self._await_start, self._deadline)
        return self._call

    def _body(self, model: str) -> bytes:
        """Build the body of an attempt, and discard what an earlier attempt has received."""
        self._received = Accumulator(self._dispatcher.name, model)
        self._sent, self.requested_model = True, model
        self.attempts += 1
        self.sent_at, self._time_to_first_token = perf_counter(), None
        return to_json(self._build_body(model))

    async def _await_start(self, call: Call) -> None:
        received = self._received
        received.stand_in = call.response.headers.get("X-Stand-In") == "true"
        while not (received.started or received.done) and await self._receive(call):
            pass
        if not received.started and received.finish_reason is None:
            raise invalid_response(self._dispatcher.name, self._received.begun)

    async def _receive(self, call: Call) -> bool:
        """Add the next bytes; return False at the end of the response."""
        piece = await call.read()
        arrived_at = perf_counter()
        try:
            self._received.feed(piece)
        except ValueError:
            raise invalid_response(self._dispatcher.name, self._received.begun) from None
        self._received_at = perf_counter()
        if self._time_to_first_token is None and self._received.started:
            self._time_to_first_token = arrived_at - self.sent_at
        return bool(piece)

    async def _finish(self, call: Call) -> None:
        self._ended = True
        if self._received.finish_reason is None:
            raise invalid_response(self._dispatcher.name, self._received.begun)
        await call.drain()
        call.end(healthy=True)
        duration = self._received_at - self.sent_at
        self._completion = self._received.completion(self.usage, self._time_to_first_token, duration)
