"""GET /v1/backends."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.schemas import BackendPrice, Backends, BackendState
from app.api.state import resources_of
from app.backends.base import Backend
from app.contract.hardware import Profile
from app.errors import BackendUnavailable
from app.pricing.prices import ListPrice, Price

router = APIRouter()
BACKENDS = TypeAdapter(Backends)


@router.get(
    "/v1/backends",
    **documents.operation(
        "operation", {200: documents.answer("All backends.", Backends), **documents.problems(*documents.KEYED)}
    ),
)
async def list_backends(request: Request) -> Response:
    """The backends, whether each is ready, and their prices."""
    resources = resources_of(request)
    states = await asyncio.gather(
        *(state(upstream.backend, upstream.price, upstream.profile) for upstream in resources.upstreams.values())
    )
    answer = Backends(resources.settings.default_backend, list(states))
    return Response(BACKENDS.dump_json(answer), media_type="application/json")


async def state(backend: Backend, price: Price | None, profile: Profile | None) -> BackendState:
    """Return the state of one backend."""
    reason = await unready_reason(backend)
    return BackendState(
        name=backend.name,
        model=backend.model or None,
        ready=reason is None,
        reason=reason,
        price=BackendPrice.of(price) if price else None,
        shutdown=price.shutdown if isinstance(price, ListPrice) else None,
        stand_in=backend.stand_in,
        profile=profile,
    )


async def unready_reason(backend: Backend) -> str | None:
    """Return why the backend is not ready; None if it is ready."""
    try:
        await backend.check()
    except BackendUnavailable as error:
        return error.detail
    return None
