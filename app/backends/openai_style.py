"""One client for both backends: chat completions in OpenAI's protocol, streamed so that times are true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import random
from time import monotonic
from typing import Any

from pydantic import SecretStr

from app.backends.answers import Answer
from app.backends.base import BREAKER_STATES, BreakerState, ChatStream, Stream
from app.backends.breaker import Breaker
from app.backends.calls import Calls
from app.backends.dialects import Dialect
from app.backends.endpoints import Endpoint, set_aside
from app.backends.identity import Identity
from app.backends.origin import Origin
from app.backends.passthrough import Chat
from app.backends.session import Session
from app.backends.upstream_errors import RETRY_AFTER_S, CallFailed
from app.contract.completion import BackendName, Completion
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import BackendUnavailable
from app.settings.addresses import proxy_for

CHECK_S = 3.0
FIRST_TOKEN_S = 30.0


class OpenAIStyle:
    """A model behind one or several servers that speak OpenAI's protocol. Made where an event loop runs.

    `model` is asked for by name; where it is None the servers are asked which they serve, and the id must
    end in `made_for` (a contract's fingerprint) if that is given. Until then `self.model` is empty. `origin`, which is
    closed with it, carries the requests where they are not plain HTTP.
    """

    def __init__(
        self,
        name: BackendName,
        urls: Sequence[str],
        dialect: Dialect,
        *,
        origin: Origin | None = None,
        key: SecretStr | None = None,
        model: str | None = None,
        made_for: str = "",
        first_token_s: float = FIRST_TOKEN_S,
        jitter: Callable[[], float] = random,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self._dialect = dialect
        self._key = key
        self._identity = Identity(name, dialect, model, made_for)
        self._endpoints = [
            Endpoint(url, model or "", proxy_for(url), dialect.fresh_s, breaker=Breaker(clock)) for url in urls
        ]
        self._origin = origin or Session(key, dialect.idle_s)
        self._calls = Calls(self._identity, self._origin, self._endpoints, first_token_s, jitter)
        self._identifying: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        return self._identity.model

    @property
    def stand_in(self) -> bool | None:
        return self._identity.stand_in

    @property
    def breaker(self) -> BreakerState:
        """The best of its servers'."""
        return min((endpoint.breaker.state for endpoint in self._endpoints), key=BREAKER_STATES.index)

    async def identify(self) -> None:
        if self.model:
            return
        if self._identifying is None or self._identifying.done():
            self._identifying = asyncio.create_task(self._identify())
        await asyncio.wait((self._identifying,))  # whoever is cancelled leaves it to the others

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:
        return self._dialect.request(self.model, messages, detail)

    def answer(
        self, messages: Sequence[Message], detail: Detail, deadline: Deadline
    ) -> AbstractAsyncContextManager[Stream]:
        def request(model: str) -> dict[str, Any]:
            return self._dialect.request(model, messages, detail)

        return Answer(self._calls, request, messages, deadline)

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        async with self.answer(messages, detail, deadline) as stream:
            async for _ in stream:
                pass
            return stream.completion

    def chat(self, body: Mapping[str, Any], deadline: Deadline) -> ChatStream:
        return Chat(self._calls, body, deadline, self._key, self._dialect.continuous_usage)

    async def check(self) -> None:
        """Return if one server at least could answer now, else raise `BackendUnavailable` saying why."""
        failures = await asyncio.gather(*(self._failure(endpoint) for endpoint in self._endpoints))
        if all(failures) and failures[0]:
            raise failures[0]

    async def close(self) -> None:
        if self._identifying is not None:
            self._identifying.cancel()
            await asyncio.wait((self._identifying,))
        await self._origin.close()

    async def _identify(self) -> None:
        """Ask all servers, until one has said."""
        pending = {asyncio.create_task(self._failure(endpoint)) for endpoint in self._endpoints}
        try:
            while pending and not self.model:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for rest in pending:
                rest.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _failure(self, endpoint: Endpoint) -> BackendUnavailable | None:
        """Why the endpoint cannot answer now, if it cannot."""
        if monotonic() < endpoint.vouched_until:
            return None
        try:
            if endpoint.breaker.state == "open":
                raise set_aside(self.name, [endpoint])
            async with asyncio.timeout(CHECK_S):
                await self._identity.learn(endpoint, self._origin)
        except TimeoutError:
            return BackendUnavailable(f"{self.name} does not respond", retry_after=RETRY_AFTER_S)
        except CallFailed as failure:
            return self._unavailable(failure)
        endpoint.vouch()
        return None

    def _unavailable(self, failure: CallFailed) -> BackendUnavailable | None:
        if failure.status == 403 and self._identity.configured:
            # OpenAI's restricted keys may answer questions and yet not list models.
            return None
        if isinstance(failure.error, BackendUnavailable):
            return failure.error
        return BackendUnavailable(failure.error.detail, retry_after=RETRY_AFTER_S)
