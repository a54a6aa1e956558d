"""Idempotency-Key: a repeated request gets the response of the first and is not executed again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.disconnect import cancel_on_disconnect
from app.api.state import principal_of, resources_of
from app.completions.request import RequestOptions
from app.errors import InvalidRequest, StoreUnavailable
from app.routing.headers import FALLBACK, SUBJECT
from app.routing.headers import HEADER as BACKEND
from app.stores.idempotency import Done, Fresh, Idempotency, InProgress

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY_LENGTH = 255
LEASE_S = 15.0
RENEW_S = 4.0
POLL_S = 0.05
NOT_STORED = frozenset({"content-length", "ratelimit", "ratelimit-policy"})
"""Headers that do not apply to a later response, or are computed again."""

Work = Callable[[], Coroutine[Any, Any, Response]]

log = logging.getLogger(__name__)


async def respond_once(request: Request, body: bytes, options: RequestOptions, work: Work) -> Response:
    """Return the response of the work, or the stored response under the same Idempotency-Key.

    Without a key a disconnect cancels the work; with a key the work is finished, since the client may repeat the
    request. A repeat waits for the first request. Failures are not stored. Raises `IdempotencyConflict` if the key was
    used with another body, path, query, backend or subject, and `StoreUnavailable` if the store cannot look the key up.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await cancel_on_disconnect(request, work())
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidRequest(f"{HEADER} must be 1 to {MAX_KEY_LENGTH} printable ASCII characters")
    idempotency = resources_of(request).idempotency
    headers = [request.headers.get(header, "").casefold().encode() for header in (BACKEND, FALLBACK, SUBJECT)]
    query = f"?{request.url.query}" if request.url.query else ""
    content = b"\n".join([f"{request.url.path}{query}".encode(), *headers, body])
    async with options.deadline.limit("the first request under this Idempotency-Key is still in progress"):
        state = await _begin(idempotency, principal_of(request).id, key, content)
    if isinstance(state, Done):
        return Response(state.body, state.status, headers={**state.headers, REPLAYED: "true"})
    return await _execute(idempotency, state, work)


def refuse_key(request: Request) -> None:
    """Raise `InvalidRequest` for a key where responses are not stored."""
    if HEADER in request.headers:
        raise InvalidRequest(f"{HEADER} is not supported for streams and batches")


async def _begin(idempotency: Idempotency, principal: str, key: str, content: bytes) -> Fresh | Done:
    while True:
        state = await idempotency.begin(principal, key, content, LEASE_S)
        if not isinstance(state, InProgress):
            return state
        await asyncio.sleep(POLL_S)


async def _execute(idempotency: Idempotency, fresh: Fresh, work: Work) -> Response:
    renewing = asyncio.create_task(_renew(idempotency, fresh))
    response = None
    try:
        response = await work()
    finally:
        renewing.cancel()
        if response is None or response.status_code >= 400:
            with suppress(StoreUnavailable):  # the lease expires
                await idempotency.abandon(fresh)
    if response.status_code < 400:
        await _store(idempotency, fresh, response)
    return response


async def _store(idempotency: Idempotency, fresh: Fresh, response: Response) -> None:
    headers = {name: value for name, value in response.headers.items() if name not in NOT_STORED}
    try:
        await idempotency.finish(fresh, response.status_code, headers, bytes(response.body))
    except StoreUnavailable as error:
        log.warning("the response is not stored under its Idempotency-Key: %s", error.detail)


async def _renew(idempotency: Idempotency, fresh: Fresh) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        with suppress(StoreUnavailable):  # retried before the lease ends
            await idempotency.renew(fresh, LEASE_S)
