"""Getting a call to begin: at one server or, where that fails before it has answered, at another or anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import random

from aiohttp import ClientError

from app.backends.call import Call
from app.backends.endpoints import Endpoint, choose, set_aside
from app.backends.identity import Identity
from app.backends.origin import Origin
from app.backends.upstream_errors import CallFailed, refusal, unreachable
from app.deadline import Deadline

RETRIES = 2
BACKOFF_S = 0.25
"""The first pause is up to this, the second up to twice."""

TIMEOUT_S = 5.0
"""The longest Retry-After that is waited for; a longer one is the client's to keep."""

MODEL_GONE = 404
"""As from a server that has been started again with another model."""

Request = Callable[[str], bytes]
"""Makes the body for the model that a server is asked for."""

Begun = Callable[[Call], Awaitable[None]]
"""Returns once an answer has begun; raises `CallFailed`."""


class Calls:
    """Begins calls for one backend. A server gets `first_token_s` seconds to say something."""

    def __init__(
        self,
        identity: Identity,
        origin: Origin,
        endpoints: Sequence[Endpoint],
        first_token_s: float,
        jitter: Callable[[], float] = random,
    ) -> None:
        self.name = identity.name
        self._identity, self._origin, self._endpoints = identity, origin, endpoints
        self._first_token_s = first_token_s
        self._jitter = jitter

    async def begin(self, request: Request, begun: Begun, deadline: Deadline, streamed: bool = True) -> Call:
        """A call for which `begun` has returned. Raises the last attempt's `CallFailed`.

        Tried again is what may pass, within the deadline, and nothing of which a byte has been answered. What
        is not streamed may take until the deadline to begin.
        """
        tried: list[Endpoint] = []
        failure: CallFailed | None = None
        for attempt in range(RETRIES + 1):
            endpoint = choose(self._endpoints, tried)
            if endpoint is None:
                break
            tried.append(endpoint)
            try:
                return await self._attempt(endpoint, request, begun, deadline, streamed)
            except CallFailed as error:
                failure = error
            pause = self._pause(failure, attempt, another=len(tried) < len(self._endpoints))
            if pause is None or pause >= deadline.left():
                break
            await asyncio.sleep(pause)
        raise failure or set_aside(self.name, self._endpoints)

    def _pause(self, failure: CallFailed, attempt: int, another: bool) -> float | None:
        """Seconds to wait before another attempt; None where there should be none."""
        if attempt == RETRIES:
            return None
        if failure.elsewhere and another:
            return 0.0
        asked_for = failure.retry_after or 0.0
        if not failure.passing or asked_for > TIMEOUT_S:
            return None
        return max(asked_for, BACKOFF_S * 2.0**attempt * self._jitter())

    async def _attempt(
        self, endpoint: Endpoint, request: Request, begun: Begun, deadline: Deadline, streamed: bool
    ) -> Call:
        call = Call(self.name, endpoint, deadline, self._first_token_s)
        left = deadline.left()
        timeouts = min(left, self._first_token_s) if streamed else left
        try:
            async with asyncio.timeout(timeouts):
                await self._send(call, request, streamed)
                await begun(call)
        except TimeoutError:
            failure = call.too_late() if timeouts == left else call.silent()
            call.fail(failure)
            raise failure from None
        except CallFailed as failure:
            call.fail(failure)
            gone = failure.status == MODEL_GONE
            if failure.blamed or gone:
                endpoint.model = self._identity.configured
            failure.passing |= gone and not endpoint.model  # which is asked for before another attempt
            raise
        except BaseException:
            call.end()
            raise
        call.begun()
        return call

    async def _send(self, call: Call, request: Request, streamed: bool) -> None:
        """Until the server answers with status 200."""
        endpoint = call.endpoint
        if not endpoint.model:
            await self._identity.learn(endpoint, self._origin)
        try:
            response = await self._origin.chat(endpoint.url, request(endpoint.model), endpoint.proxy, streamed)
            call.receive(response)
            if response.status != 200:
                raise await refusal(self.name, self._identity.dialect, response)
        except (ClientError, OSError):
            raise unreachable(self.name) from None
