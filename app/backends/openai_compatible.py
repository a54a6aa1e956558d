"""The client of both backends: chat completions in OpenAI's protocol, streamed so that latencies can be measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import random
from time import monotonic
from typing import Any

from pydantic import SecretStr

from app.backends.base import BREAKER_STATES, BreakerState, ChatStream, Stream
from app.backends.chat_forwarding import ForwardedChat
from app.backends.circuit_breaker import CircuitBreaker
from app.backends.completion_stream import CompletionStream
from app.backends.dialects import Dialect
from app.backends.dispatcher import Dispatcher
from app.backends.endpoints import Endpoint, breakers_open
from app.backends.http_transport import HttpTransport
from app.backends.served_model import ServedModel
from app.backends.transport import Transport
from app.backends.upstream_errors import RETRY_AFTER_S, CallFailed
from app.contract.completion import BackendName, Completion
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import BackendUnavailable
from app.settings.addresses import proxy_for

CHECK_TIMEOUT_S = 3.0
FIRST_TOKEN_S = 30.0


class OpenAICompatibleBackend:
    """A model behind one or more OpenAI-compatible servers. Needs a running event loop.

    If `model` is None, the servers are asked for their models, and the id must end in `fingerprint` (of the contract)
    if that is given; until then `self.model` is empty. `transport` replaces plain HTTP, and is closed with the backend.
    """

    def __init__(
        self,
        name: BackendName,
        urls: Sequence[str],
        dialect: Dialect,
        *,
        transport: Transport | None = None,
        key: SecretStr | None = None,
        model: str | None = None,
        fingerprint: str = "",
        first_token_s: float = FIRST_TOKEN_S,
        jitter: Callable[[], float] = random,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self._dialect = dialect
        self._key = key
        self._served_model = ServedModel(name, dialect, model, fingerprint)
        self._endpoints = [
            Endpoint(url, model or "", proxy_for(url), dialect.health_ttl_s, CircuitBreaker(clock)) for url in urls
        ]
        self._transport = transport or HttpTransport(key, dialect.idle_s)
        self._dispatcher = Dispatcher(self._served_model, self._transport, self._endpoints, first_token_s, jitter)
        self._discovery: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        return self._served_model.model

    @property
    def stand_in(self) -> bool | None:
        return self._served_model.stand_in

    @property
    def breaker(self) -> BreakerState:
        """The best state of the servers' breakers."""
        return min((endpoint.breaker.state for endpoint in self._endpoints), key=BREAKER_STATES.index)

    async def discover_model(self) -> None:
        if self.model:
            return
        if self._discovery is None or self._discovery.done():
            self._discovery = asyncio.create_task(self._discover())
        await asyncio.wait((self._discovery,))  # cancelling one caller does not cancel the shared discovery

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:
        return self._dialect.request(self.model, messages, detail)

    def answer(
        self, messages: Sequence[Message], detail: Detail, deadline: Deadline
    ) -> AbstractAsyncContextManager[Stream]:
        def build_body(model: str) -> dict[str, Any]:
            return self._dialect.request(model, messages, detail)

        return CompletionStream(self._dispatcher, build_body, messages, deadline, self._dialect.reasoning_tokens)

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        async with self.answer(messages, detail, deadline) as stream:
            async for _ in stream:
                pass
            return stream.completion

    def chat(self, body: Mapping[str, Any], deadline: Deadline) -> ChatStream:
        return ForwardedChat(self._dispatcher, body, deadline, self._key, self._dialect.continuous_usage)

    async def check(self) -> None:
        """Raise the first server's `BackendUnavailable` if no server could answer now."""
        failures = await asyncio.gather(*(self._check_endpoint(endpoint) for endpoint in self._endpoints))
        if all(failures) and failures[0]:
            raise failures[0]

    async def close(self) -> None:
        if self._discovery is not None:
            self._discovery.cancel()
            await asyncio.wait((self._discovery,))
        await self._transport.close()

    async def _discover(self) -> None:
        """Ask all servers concurrently until one has reported its model."""
        pending = {asyncio.create_task(self._check_endpoint(endpoint)) for endpoint in self._endpoints}
        try:
            while pending and not self.model:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _check_endpoint(self, endpoint: Endpoint) -> BackendUnavailable | None:
        """Return why the endpoint cannot answer now, or None."""
        if monotonic() < endpoint.healthy_until:
            return None
        try:
            if endpoint.breaker.state == "open":
                raise breakers_open(self.name, [endpoint])
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._served_model.discover(endpoint, self._transport)
        except TimeoutError:
            return BackendUnavailable(f"{self.name} does not respond", retry_after=RETRY_AFTER_S)
        except CallFailed as failure:
            return self._unavailable(failure)
        endpoint.mark_healthy()
        return None

    def _unavailable(self, failure: CallFailed) -> BackendUnavailable | None:
        if failure.status == 403 and self._served_model.configured:
            return None  # OpenAI's restricted keys can request completions but not list models
        if isinstance(failure.error, BackendUnavailable):
            return failure.error
        return BackendUnavailable(failure.error.detail, retry_after=RETRY_AFTER_S)
