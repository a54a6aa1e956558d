"""A forwarded chat completion: the client's body with the served model, and the server's bytes.

The server streams every completion, so that the usage of one that is cancelled is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Self

from pydantic import SecretStr
from pydantic_core import to_json

from app.backends.assembly import AssembledRelay
from app.backends.call import Call, CallContext
from app.backends.chat_tokens import estimate_chat
from app.backends.dispatcher import Dispatcher
from app.backends.redact import redact_error
from app.backends.relay import DocumentRelay, EventRelay
from app.backends.upstream_errors import CallFailed, invalid_response
from app.contract.completion import Usage
from app.deadline import Deadline

FORWARDED_HEADERS = ("Content-Type", "X-Stand-In")

CONTINUOUS_USAGE = "continuous_usage_stats"
"""vLLM's option that reports the usage with every event, so that a cancelled stream is billed exactly."""

GATEWAY_ERRORS = (401, 403, 404, 429)
"""Refusals that concern the gateway's key, model or quota, not the client's request."""


class ForwardedChat(CallContext):
    """`ChatStream` over one call, which is cancelled when the context is left early.

    `continuous_usage`: the server supports the option. It counts each choice separately, so it is used for one only.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        body: Mapping[str, Any],
        deadline: Deadline,
        key: SecretStr | None,
        continuous_usage: bool,
    ) -> None:
        self._dispatcher, self._client_body, self._deadline, self._key = dispatcher, body, deadline, key
        self._streamed = body.get("stream") is True
        self._options: Any = (body.get("stream_options") if self._streamed else None) or {}
        self._continuous_usage = continuous_usage and body.get("n") in (None, 1)
        self._relay: AssembledRelay | DocumentRelay | EventRelay = AssembledRelay()
        self._sent = self._exhausted = False
        self._first = b""
        self.sent_at = 0.0
        self.ended = False
        self.status = 200
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            self._call = await self._dispatcher.start(
                self._body, self._await_start, self._deadline, self._streamed, client_body=True
            )
        except CallFailed as failure:
            self._forward_refusal(failure)
        return self

    async def __anext__(self) -> bytes:
        forwarded, self._first = self._first, b""
        while not forwarded and not self._exhausted and self._call is not None:
            try:
                forwarded = await self._next(self._call)
            except CallFailed as failure:
                self._exhausted, self._sent = True, failure.outcome_unknown
                self._call.fail(failure)
                raise failure.error from None
        if not forwarded:
            raise StopAsyncIteration
        return forwarded

    @property
    def usage(self) -> Usage | None:
        if not self._sent:
            return None
        return self._relay.usage or estimate_chat(self._client_body, self._relay.text_events)

    def _body(self, model: str) -> bytes:
        self._sent, self.sent_at = True, perf_counter()
        body = {**self._client_body, "model": model, "stream": True}
        if isinstance(self._options, Mapping):
            continuous = {CONTINUOUS_USAGE: True} if self._continuous_usage else {}
            body["stream_options"] = {**self._options, "include_usage": True, **continuous}
        return to_json(body)

    async def _await_start(self, call: Call) -> None:
        """Return at the first text of a stream, not at the role before it, so that a stalled server times out.

        A document is read whole, since its status says nothing; a stream for a document starts with its status.
        """
        headers = call.response.headers
        self.headers = {name: headers[name] for name in FORWARDED_HEADERS if name in headers}
        if not all(value.isascii() for value in self.headers.values()):
            raise invalid_response(self._dispatcher.name)
        media_type = headers.get("Content-Type", "")
        if media_type.startswith("application/json"):
            self._relay = DocumentRelay()
        elif not media_type.startswith("text/event-stream"):
            raise invalid_response(self._dispatcher.name, begun=False)
        elif self._streamed:
            options = self._options if isinstance(self._options, Mapping) else {}
            usage_requested = bool(options.get("include_usage"))
            client_continuous = usage_requested and options.get(CONTINUOUS_USAGE)
            self._relay = EventRelay(usage_requested, self._continuous_usage and not client_continuous)
        else:
            self.headers["Content-Type"] = "application/json"
            return
        forwards = isinstance(self._relay, EventRelay)
        while not (self._exhausted or (forwards and self._relay.text_events)):
            self._first += await self._next(call)

    async def _next(self, call: Call) -> bytes:
        """Return the next bytes for the client, possibly none."""
        piece = b"" if self._relay.done else await call.read()
        try:
            if piece:
                return self._relay.feed(piece)
            rest = self._relay.flush()
        except ValueError:
            begun = self._relay.begun or self._relay.usage is not None
            raise invalid_response(self._dispatcher.name, begun) from None
        self._exhausted = True
        await call.drain()
        call.end(healthy=True)
        self.ended = bool(rest)
        return rest

    def _forward_refusal(self, failure: CallFailed) -> None:
        """Forward a refusal of the client's request; raise any other failure as an error of the backend."""
        self._exhausted, self._sent = True, failure.outcome_unknown
        if failure.status is None or not 400 <= failure.status < 500 or failure.status in GATEWAY_ERRORS:
            raise failure.error from None
        self.status = failure.status
        self.headers = {"Content-Type": "application/json"}
        key = self._key.get_secret_value() if self._key else ""
        self._first = redact_error(failure.document, key, failure.error.detail)
