"""Idempotency-Key: a request that is repeated is answered as the first was, and not made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from app.api.state import holder_of, resources_of
from app.asking import Terms
from app.errors import InvalidRequest, StoreUnavailable
from app.routing import HEADER as BACKEND
from app.stores.idempotency import Done, Fresh, Idempotency, InProgress

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}
LONGEST = 255
LEASE_S = 15.0
RENEW_S = 4.0
LOOK_AGAIN_S = 0.05


async def once(request: Request, body: bytes, terms: Terms, work: Callable[[], Awaitable[Response]]) -> Response:
    """What the work answers, or what it answered before under the same key.

    A repeat waits while the first is being answered. What fails is not kept. Raises `IdempotencyConflict` for a key
    that was used with another body, path or backend, and `StoreUnavailable` where that cannot be told.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await work()
    if not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise InvalidRequest(f"{HEADER} must be 1 to {LONGEST} printable ASCII characters")
    idempotency = resources_of(request).idempotency
    asked = b"\n".join([request.url.path.encode(), request.headers.get(BACKEND, "").casefold().encode(), body])
    async with terms.deadline.limit("the first request under this Idempotency-Key is still being answered"):
        known = await _known(idempotency, holder_of(request).id, key, asked)
    if isinstance(known, Done):
        return Response(known.body, known.status, headers={**known.headers, **REPLAYED})
    return await _first(idempotency, known, work)


async def _known(idempotency: Idempotency, holder: str, key: str, asked: bytes) -> Fresh | Done:
    while True:
        known = await idempotency.begin(holder, key, asked, LEASE_S)
        if not isinstance(known, InProgress):
            return known
        await asyncio.sleep(LOOK_AGAIN_S)


async def _first(idempotency: Idempotency, fresh: Fresh, work: Callable[[], Awaitable[Response]]) -> Response:
    renewing = asyncio.create_task(_renew(idempotency, fresh))
    try:
        response = await work()
    except BaseException:
        with suppress(StoreUnavailable):  # its lease ends by itself
            await idempotency.abandon(fresh)
        raise
    finally:
        renewing.cancel()
    headers = {name: value for name, value in response.headers.items() if name.lower() != "content-length"}
    await idempotency.finish(fresh, response.status_code, headers, bytes(response.body))
    return response


async def _renew(idempotency: Idempotency, fresh: Fresh) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        with suppress(StoreUnavailable):  # tried again before the lease ends
            await idempotency.renew(fresh, LEASE_S)
