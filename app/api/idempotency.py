"""Idempotency-Key: a request that is repeated is answered as the first was, and not made again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.disconnect import while_there
from app.api.state import principal_of, resources_of
from app.completions.request import RequestOptions
from app.errors import InvalidRequest, StoreUnavailable
from app.routing.headers import FALLBACK, SUBJECT
from app.routing.headers import HEADER as BACKEND
from app.stores.idempotency import Done, Fresh, Idempotency, InProgress

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}
LONGEST = 255
LEASE_S = 15.0
RENEW_S = 4.0
LOOK_AGAIN_S = 0.05
OF_THE_MOMENT = frozenset({"content-length", "ratelimit", "ratelimit-policy"})
"""Headers that say nothing true of a later answer, or are made anew."""

Work = Callable[[], Coroutine[Any, Any, Response]]

log = logging.getLogger(__name__)


async def once(request: Request, body: bytes, terms: RequestOptions, work: Work) -> Response:
    """What the work answers, or what it answered before under the same key.

    Without a key it is given up as soon as the client leaves; with one it is finished, since the client may come back
    for it. A repeat waits while the first is being answered. What fails is not kept. Raises `IdempotencyConflict` for
    a key that was used with another body, path, backend or subject, and `StoreUnavailable` where that cannot be told.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await while_there(request, work())
    if not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise InvalidRequest(f"{HEADER} must be 1 to {LONGEST} printable ASCII characters")
    idempotency = resources_of(request).idempotency
    named = [request.headers.get(header, "").casefold().encode() for header in (BACKEND, FALLBACK, SUBJECT)]
    asked = b"\n".join([request.url.path.encode(), *named, body])
    async with terms.deadline.limit("the first request under this Idempotency-Key is still being answered"):
        known = await _known(idempotency, principal_of(request).id, key, asked)
    if isinstance(known, Done):
        return Response(known.body, known.status, headers={**known.headers, **REPLAYED})
    return await _first(idempotency, known, work)


def refuse_key(request: Request) -> None:
    """Raise `InvalidRequest` for a key where the answer is not kept, so that nobody relies on it."""
    if HEADER in request.headers:
        raise InvalidRequest(f"{HEADER} goes with a single answer that is given whole")


async def _known(idempotency: Idempotency, principal: str, key: str, asked: bytes) -> Fresh | Done:
    while True:
        known = await idempotency.begin(principal, key, asked, LEASE_S)
        if not isinstance(known, InProgress):
            return known
        await asyncio.sleep(LOOK_AGAIN_S)


async def _first(idempotency: Idempotency, fresh: Fresh, work: Work) -> Response:
    renewing = asyncio.create_task(_renew(idempotency, fresh))
    response = None
    try:
        response = await work()
    finally:
        renewing.cancel()
        if response is None or response.status_code >= 400:
            with suppress(StoreUnavailable):  # its lease ends by itself
                await idempotency.abandon(fresh)
    if response.status_code < 400:
        await _keep(idempotency, fresh, response)
    return response


async def _keep(idempotency: Idempotency, fresh: Fresh, response: Response) -> None:
    headers = {name: value for name, value in response.headers.items() if name not in OF_THE_MOMENT}
    try:
        await idempotency.finish(fresh, response.status_code, headers, bytes(response.body))
    except StoreUnavailable as error:
        log.warning("an answer is not kept under its Idempotency-Key: %s", error.detail)


async def _renew(idempotency: Idempotency, fresh: Fresh) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        with suppress(StoreUnavailable):  # tried again before the lease ends
            await idempotency.renew(fresh, LEASE_S)
