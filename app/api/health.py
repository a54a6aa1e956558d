"""GET /health/live and /health/ready: for whoever restarts the gateway, and whoever sends it requests."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.accounting.ledger import Ledger
from app.api import documents
from app.api.backends import unready
from app.api.schemas import Component, Liveness, Readiness
from app.api.state import experiments_of, resources_of
from app.errors import StoreUnavailable
from app.resources import Resources
from app.routing.experiments_file import Experiments

router = APIRouter()
LIVE = TypeAdapter(Liveness).dump_json(Liveness())
READINESS = TypeAdapter(Readiness)


@router.get("/health/live", **documents.LIVE)
async def live() -> Response:
    """The process answers."""
    return Response(LIVE, media_type="application/json")


@router.get("/health/ready", **documents.READY)
async def ready(request: Request) -> Response:
    """Whether a backend and the store could serve a request now."""
    resources = resources_of(request)
    backends, store = await asyncio.gather(_backends(resources), _store_unready(resources.ledger))
    stops = "the gateway is about to stop" if request.app.state.drain.started else None
    others = {
        "store": Component(store is None, store),
        "gateway": Component(stops is None, stops),
        **_experiments(experiments_of(request)),
    }
    components = backends | others
    some = any(component.ready for component in backends.values())
    fit = some and all(component.ready for component in others.values())
    answer = Readiness(fit, components, resources.market.provider.name)
    return Response(READINESS.dump_json(answer), 200 if fit else 503, media_type="application/json")


async def _backends(resources: Resources) -> dict[str, Component]:
    """The default backend, and the others only while it is away: those who asked for them are answered still."""
    default = resources.settings.default_backend
    components: dict[str, Component] = {}
    for name in sorted(resources.upstreams, key=lambda name: name != default):
        reason = await unready(resources.upstreams[name].backend)
        components[name] = Component(reason is None, reason)
        if reason is None:
            break
    return components


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
