"""A chat completion passed through: the client's own body, but for the model, and the server's own bytes."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr
from pydantic_core import to_json

from app.backends.call import Call
from app.backends.calls import Calls
from app.backends.estimate import estimated
from app.backends.relay import Document, Events, Relay
from app.backends.scrub import scrubbed
from app.backends.upstream_errors import CallFailed, broken_off
from app.contract.completion import Usage
from app.deadline import Deadline

PASSED = ("Content-Type", "X-Stand-In")
"""What is passed of a response's headers."""

TALLY = {"continuous_usage_stats": True}
"""Has vLLM tell with every event what has been used so far, so that a stream that is left is billed exactly."""

OWN = (401, 403, 404, 429)
"""Refusals that are about the gateway's key, model or quota, not about what the client asks."""


class Chat:
    """`ChatStream` over one call, and the context that hangs up where it is left before the end.

    `tells`: the server can be asked for a running tally. (It is each choice's own, and so no use where there are more.)
    """

    def __init__(
        self, calls: Calls, body: Mapping[str, Any], deadline: Deadline, key: SecretStr | None, tells: bool
    ) -> None:
        self._calls, self._body, self._deadline, self._key = calls, body, deadline, key
        self._streamed = body.get("stream") is True
        self._options: Any = body.get("stream_options") or {}
        self._tally = TALLY if tells and body.get("n") in (None, 1) else {}
        self._call: Call | None = None
        self._relay: Relay = Document()
        self._sent = self._ended = False
        self._first = b""
        self.ended = False
        self.status = 200
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            self._call = await self._calls.begin(self._request, self._begun, self._deadline, self._streamed)
        except CallFailed as failure:
            self._refuse(failure)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        passed, self._first = self._first, b""
        while not passed and not self._ended and self._call is not None:
            try:
                passed = await self._next(self._call)
            except CallFailed as failure:
                self._ended = True
                self._call.fail(failure)
                raise failure.error from None
        if not passed:
            raise StopAsyncIteration
        return passed

    @property
    def usage(self) -> Usage | None:
        if not self._sent:
            return None
        return self._relay.told or estimated(self._body.get("messages"), self._relay.pieces)

    def _request(self, model: str) -> bytes:
        self._sent = True
        body = {**self._body, "model": model}
        if self._streamed and isinstance(self._options, Mapping):
            body["stream_options"] = {**self._options, "include_usage": True, **self._tally}
        return to_json(body)

    async def _begun(self, call: Call) -> None:
        """What streams has begun with its first piece of text, not with the role that goes before it, so that a server
        that says no more is given up in time; what does not stream has begun with its status."""
        headers = call.response.headers
        self.headers = {name: headers[name] for name in PASSED if name in headers}
        if headers.get("Content-Type", "").startswith("text/event-stream"):
            options = self._options if isinstance(self._options, Mapping) else {}
            asked = bool(options.get("include_usage"))
            self._relay = Events(asked, bool(self._tally) and not (asked and options.get(next(iter(TALLY)))))
            while not (self._relay.pieces or self._ended):
                self._first += await self._next(call)

    async def _next(self, call: Call) -> bytes:
        """What comes next for the client, if anything does yet."""
        piece = b"" if self._relay.done else await call.read()
        try:
            if piece:
                return self._relay.feed(piece)
            rest = self._relay.rest()
        except ValueError:
            raise broken_off(self._calls.name) from None
        self._ended = True
        await call.drain()
        call.end(well=True)
        self.ended = bool(rest)
        return rest

    def _refuse(self, failure: CallFailed) -> None:
        """Pass on what the server says of the client's request; what it says of ours is an error of the gateway."""
        self._ended, self._sent = True, failure.unanswered
        if failure.status is None or not 400 <= failure.status < 500 or failure.status in OWN:
            raise failure.error from None
        self.status = failure.status
        self.headers = {"Content-Type": "application/json"}
        key = self._key.get_secret_value() if self._key else ""
        self._first = scrubbed(failure.document, key, failure.error.detail)
