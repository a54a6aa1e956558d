"""Starting a call: the choice of a server, retries, and the time limits until the first token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import random

from aiohttp import ClientError

from app.backends.call import Call
from app.backends.endpoints import Endpoint, breakers_open, choose_endpoint
from app.backends.served_model import ServedModel
from app.backends.transport import Transport
from app.backends.upstream_errors import CallFailed, read_refusal, unreachable
from app.deadline import Deadline

RETRIES = 2
BACKOFF_S = 0.25
"""The upper limit of the first backoff; it doubles for the second."""

RETRY_AFTER_MAX_S = 5.0
"""The longest Retry-After that the gateway waits for; a longer one is passed to the client."""

MODEL_NOT_FOUND = 404
"""The status of a server that was restarted with another model, for example."""

BuildBody = Callable[[str], bytes]
"""Returns the request body for a model."""

AwaitStart = Callable[[Call], Awaitable[None]]
"""Returns once the answer has started; raises `CallFailed`."""


class Dispatcher:
    """Starts the calls of one backend. A server has `first_token_s` seconds to send a token."""

    def __init__(
        self,
        served_model: ServedModel,
        transport: Transport,
        endpoints: Sequence[Endpoint],
        first_token_s: float,
        jitter: Callable[[], float] = random,
    ) -> None:
        self.name = served_model.name
        self._served_model, self._transport, self._endpoints = served_model, transport, endpoints
        self._first_token_s = first_token_s
        self._jitter = jitter

    async def start(
        self,
        build_body: BuildBody,
        await_start: AwaitStart,
        deadline: Deadline,
        streamed: bool = True,
        client_body: bool = False,
    ) -> Call:
        """Return a call whose answer has started. Raises the last attempt's `CallFailed`.

        Transient failures are retried within the deadline, unless a byte of the answer has arrived. A call that is not
        streamed may take until the deadline to start. `client_body`: a client wrote the body.
        """
        tried: list[Endpoint] = []
        failure: CallFailed | None = None
        for attempt in range(RETRIES + 1):
            endpoint = choose_endpoint(self._endpoints, tried)
            if endpoint is None:
                break
            tried.append(endpoint)
            try:
                call = Call(self.name, endpoint, deadline, self._first_token_s)
                return await self._attempt(call, build_body, await_start, streamed, client_body)
            except CallFailed as error:
                failure = error
            pause = self._pause(failure, attempt, untried=len(tried) < len(self._endpoints))
            if pause is None or pause >= deadline.left():
                break
            await asyncio.sleep(pause)
        raise failure or breakers_open(self.name, self._endpoints)

    def _pause(self, failure: CallFailed, attempt: int, untried: bool) -> float | None:
        """Return the seconds to wait before another attempt; None for no further attempt."""
        if attempt == RETRIES:
            return None
        if failure.failover and untried:
            return 0.0
        retry_after = failure.retry_after or 0.0
        if not failure.transient or retry_after > RETRY_AFTER_MAX_S:
            return None
        return max(retry_after, BACKOFF_S * 2.0**attempt * self._jitter())

    async def _attempt(
        self, call: Call, build_body: BuildBody, await_start: AwaitStart, streamed: bool, client_body: bool
    ) -> Call:
        endpoint, left = call.endpoint, call.deadline.left()
        timeout_s = min(left, self._first_token_s) if streamed else left
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(call, build_body, client_body)
                await await_start(call)
        except TimeoutError:
            failure = call.deadline_exceeded() if timeout_s == left else call.first_token_timeout()
            call.fail(failure)
            raise failure from None
        except CallFailed as failure:
            call.fail(failure)
            model_not_found = failure.status == MODEL_NOT_FOUND
            if failure.server_fault or model_not_found:
                endpoint.model = self._served_model.configured
            failure.transient |= model_not_found and not endpoint.model  # the next attempt discovers the model
            raise
        except BaseException:
            call.end()
            raise
        call.mark_started()
        return call

    async def _send(self, call: Call, build_body: BuildBody, client_body: bool) -> None:
        """Send the call and return when the server has answered with status 200."""
        endpoint = call.endpoint
        if not endpoint.model:
            await self._served_model.discover(endpoint, self._transport)
        body = build_body(endpoint.model)
        call.client_body = hash(body) if client_body else None
        try:
            call.response = await self._transport.chat(endpoint.url, body, endpoint.proxy, streamed=True)
            if call.response.status != 200:
                raise await read_refusal(self.name, self._served_model.dialect, call.response)
        except (ClientError, OSError):
            raise unreachable(self.name) from None
