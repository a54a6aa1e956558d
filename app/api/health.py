"""GET /health/live and /health/ready: for whoever restarts the gateway, and whoever sends it requests."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.backends import unready
from app.api.schemas import Component, Liveness, Readiness
from app.api.state import experiments_of, resources_of
from app.errors import StoreUnavailable
from app.experiments_file import Experiments
from app.stores.ledger import Ledger

router = APIRouter()
LIVE = TypeAdapter(Liveness).dump_json(Liveness())
READINESS = TypeAdapter(Readiness)


@router.get("/health/live", **documents.LIVE)
async def live() -> Response:
    """The process answers."""
    return Response(LIVE, media_type="application/json")


@router.get("/health/ready", **documents.READY)
async def ready(request: Request) -> Response:
    """Whether the default backend and the store could serve a request now."""
    resources = resources_of(request)
    default = resources.settings.default_backend
    backend, store = await asyncio.gather(unready(resources.lanes[default].backend), _store_unready(resources.ledger))
    stops = "the gateway is about to stop" if request.app.state.drain.begun else None
    components = {
        default: Component(backend is None, backend),
        "store": Component(store is None, store),
        "gateway": Component(stops is None, stops),
        **_experiments(experiments_of(request)),
    }
    fit = all(component.ready for component in components.values())
    answer = Readiness(fit, components, resources.market.provider.name)
    return Response(READINESS.dump_json(answer), 200 if fit else 503, media_type="application/json")


def _experiments(experiments: Experiments) -> dict[str, Component]:
    """Ready wherever there are any: where the file is wrong now, what it said before holds."""
    experiments.refresh()
    return {"experiments": Component(True, experiments.problem)} if experiments.named else {}


async def _store_unready(ledger: Ledger) -> str | None:
    try:
        await ledger.check()
    except StoreUnavailable as error:
        return error.detail
    return None
