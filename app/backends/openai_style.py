"""One client for both backends: chat completions in OpenAI's protocol, streamed so that times are true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import random
from time import monotonic, perf_counter

from openai import APIError, AsyncStream, PermissionDeniedError
from pydantic import SecretStr

from app.backends.base import BackendName, Completion
from app.backends.dialects import Dialect
from app.backends.endpoints import Endpoint, connect, least_busy
from app.backends.events import Event, Listing
from app.backends.transcript import Transcript
from app.backends.upstream_errors import RETRY_AFTER_S, own_error, retry_after, worth_retrying
from app.contract.prompt import Detail, Message
from app.errors import BackendError, BackendUnavailable, DeadlineExceeded, NotConfigured

RETRIES = 2
BACKOFF_S = 0.25
"""The first pause is up to this, the second up to twice."""

PATIENCE_S = 5.0
"""The longest Retry-After that is waited for; a longer one is the client's to keep."""

CHECK_S = 3.0


class OpenAIStyle:
    """A model behind one or several servers that speak OpenAI's protocol.

    `model` is asked for by name; where it is None the servers are asked which they serve, and the id must
    end in `made_for` (a contract's fingerprint) if that is given. Until then `self.model` is empty.
    """

    def __init__(
        self,
        name: BackendName,
        urls: Sequence[str],
        dialect: Dialect,
        *,
        key: SecretStr | None = None,
        model: str | None = None,
        made_for: str = "",
        timeout_s: float = 60.0,
        jitter: Callable[[], float] = random,
    ) -> None:
        self.name = name
        self.model = model or ""
        self._configured = model
        self._made_for = made_for
        self._dialect = dialect
        self._timeout_s = timeout_s
        self._jitter = jitter
        self._endpoints = [Endpoint(connect(url, key), self.model) for url in urls]

    async def complete(self, messages: Sequence[Message], detail: Detail) -> Completion:
        """Ask, and ask again up to twice where nothing has been answered yet and another try may succeed."""
        deadline = perf_counter() + self._timeout_s
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._persist(messages, detail, deadline)
        except TimeoutError:
            raise DeadlineExceeded(f"{self.name} did not answer within {self._timeout_s:g} s") from None

    async def check(self) -> None:
        """Return if one server at least could answer now, else raise `BackendUnavailable` saying why."""
        failures = await asyncio.gather(*(self._failure(endpoint) for endpoint in self._endpoints))
        if all(failures) and failures[0]:
            raise failures[0]

    async def close(self) -> None:
        await asyncio.gather(*(endpoint.client.close() for endpoint in self._endpoints))

    async def _persist(self, messages: Sequence[Message], detail: Detail, deadline: float) -> Completion:
        started = perf_counter()
        for attempt in range(RETRIES + 1):
            endpoint = least_busy(self._endpoints)
            with endpoint.asked():
                try:
                    stream = await self._open(endpoint, messages, detail)
                except APIError as error:
                    failure, pause = self._fail(endpoint, error, attempt)
                else:
                    return await self._read(endpoint, stream, started)
            if pause is None or perf_counter() + pause >= deadline:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt answers or raises")

    def _fail(self, endpoint: Endpoint, error: APIError, attempt: int) -> tuple[BackendError, float | None]:
        """The failure, and how long to wait before another attempt; None where there should be none."""
        failure, asked_for = own_error(error, self.name, self._dialect), retry_after(error) or 0.0
        passing = worth_retrying(error)
        if passing or isinstance(failure, BackendUnavailable):
            endpoint.failed()
            endpoint.model = self._configured or ""
        if attempt == RETRIES or not passing or asked_for > PATIENCE_S:
            return failure, None
        return failure, max(asked_for, BACKOFF_S * 2**attempt * self._jitter())

    async def _open(self, endpoint: Endpoint, messages: Sequence[Message], detail: Detail) -> AsyncStream[object]:
        """Send the request; returns with the answer's first byte."""
        if not endpoint.model:
            await self._identify(endpoint)
        # The package's own types cost 230 µs an event to build, five times what Event takes.
        return await endpoint.client.post(
            "/chat/completions",
            body=self._dialect.request(endpoint.model, messages, detail),
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
        )

    async def _read(self, endpoint: Endpoint, stream: AsyncStream[object], started: float) -> Completion:
        transcript = Transcript(self.name, endpoint.model)
        transcript.stand_in = stream.response.headers.get("x-stand-in") == "true"
        first = None
        async with stream:
            try:
                async for event in stream:
                    transcript.add(Event.model_validate(event))
                    if first is None and transcript.begun:
                        first = perf_counter() - started
            except (APIError, ValueError):
                endpoint.failed()
                raise BackendError(f"{self.name} broke its answer off, or sent what is none") from None
        completion = transcript.completion(first, perf_counter() - started)
        endpoint.answered(self._dialect.fresh_s)
        return completion

    async def _failure(self, endpoint: Endpoint) -> BackendUnavailable | None:
        """Why the endpoint cannot answer now, if it cannot."""
        if monotonic() < endpoint.vouched_until:
            return None
        try:
            async with asyncio.timeout(CHECK_S):
                await self._identify(endpoint)
        except TimeoutError:
            return BackendUnavailable(f"{self.name} does not respond", retry_after=RETRY_AFTER_S)
        except PermissionDeniedError as error:
            # OpenAI's restricted keys may answer questions and yet not list models.
            return None if self._configured else self._unavailable(error)
        except APIError as error:
            return self._unavailable(error)
        except BackendUnavailable as error:
            return error
        endpoint.answered(self._dialect.fresh_s)
        return None

    def _unavailable(self, error: APIError) -> BackendUnavailable:
        own = own_error(error, self.name, self._dialect)
        if isinstance(own, BackendUnavailable):
            return own
        return BackendUnavailable(own.detail, retry_after=RETRY_AFTER_S)

    async def _identify(self, endpoint: Endpoint) -> None:
        """Find what the endpoint serves, and set its model to what should be asked of it."""
        try:
            answer = await endpoint.client.get("/models", cast_to=object)
            served = [model.id for model in Listing.model_validate(answer).data]
        except ValueError:
            served = []
        if not served:
            raise BackendUnavailable(f"{self.name} lists no models", retry_after=RETRY_AFTER_S)
        if self._configured:
            if self._configured not in served:
                raise NotConfigured(
                    f"{self.name} does not serve {self._configured}: check {self._dialect.model_setting}"
                )
            return
        model = next((model for model in served if model.endswith(self._made_for)), None)
        if model is None:
            endpoint.failed()
            raise BackendUnavailable(
                f"{self.name} serves no model made for this gateway's contract, whose fingerprint is "
                f"{self._made_for}; CONVICTION_ALLOW_FOREIGN_MODEL=1 takes any"
            )
        self.model = endpoint.model = model
