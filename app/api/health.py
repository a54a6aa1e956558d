"""GET /health/live and /health/ready: liveness and readiness probes."""

from __future__ import annotations

import asyncio
from time import monotonic

from fastapi import APIRouter
from pydantic import TypeAdapter
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.backends import unready_reason
from app.api.schemas import Component, Liveness, Readiness
from app.api.state import experiments_of, resources_of
from app.contract.completion import BACKEND_NAMES
from app.errors import StoreUnavailable
from app.resources import Resources
from app.routing.experiments_file import Experiments
from app.stores.connection import check

router = APIRouter()
LIVE = TypeAdapter(Liveness).dump_json(Liveness())
READINESS = TypeAdapter(Readiness)
FRESH_S = 1.0
"""The time for which a check of the store and the backends is reused: probes need no key, so their cost is bounded."""


class DependencyCheck:
    """The states of the store and the backends, checked when a probe asks, but at most once in `FRESH_S`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._lock = asyncio.Lock()
        self._checked_at = -FRESH_S
        self._states: tuple[dict[str, Component], Component] = {}, Component(ready=False)

    async def states(self) -> tuple[dict[str, Component], Component]:
        """Return the backends' states by name, and the store's."""
        async with self._lock:
            if monotonic() - self._checked_at >= FRESH_S:
                backends, store = await asyncio.gather(
                    _backends(self._resources), _store_unready_reason(self._resources.redis)
                )
                self._states = backends, Component(store is None, store)
                self._checked_at = monotonic()
        return self._states


@router.get(
    "/health/live",
    **documents.operation(
        "operation", {200: documents.answer("Alive.", Liveness), **documents.problems()}, security=[]
    ),
)
async def check_liveness() -> Response:
    """Whether the process runs."""
    return Response(LIVE, media_type="application/json")


@router.get(
    "/health/ready",
    **documents.operation(
        "operation",
        {
            200: documents.answer("Ready.", Readiness),
            503: documents.answer("Not ready; the components state the reasons.", Readiness),
            **documents.problems(),
        },
        security=[],
    ),
)
async def check_readiness(request: Request) -> Response:
    """Whether a backend and the store can serve a request now."""
    dependencies: DependencyCheck = request.app.state.dependencies
    backends, store = await dependencies.states()
    stopping = "the gateway is stopping" if request.app.state.drain.started else None
    others = {
        "store": store,
        "gateway": Component(stopping is None, stopping),
        **_experiments(experiments_of(request)),
        **_decision_log(resources_of(request)),
    }
    components = backends | others
    any_backend = any(component.ready for component in backends.values())
    is_ready = any_backend and all(component.ready for component in others.values())
    answer = Readiness(is_ready, components, resources_of(request).market.provider.name)
    return Response(READINESS.dump_json(answer), 200 if is_ready else 503, media_type="application/json")


async def _backends(resources: Resources) -> dict[str, Component]:
    """Check the default backend, then the other until one is ready: requests may name any of them. Neither depends on
    a candidate."""
    default = resources.settings.default_backend
    components: dict[str, Component] = {}
    for name in sorted(BACKEND_NAMES, key=lambda name: name != default):
        reason = await unready_reason(resources.upstreams[name].backend)
        components[name] = Component(reason is None, reason)
        if reason is None:
            break
    return components


def _experiments(experiments: Experiments) -> dict[str, Component]:
    """Always ready where configured: an invalid file leaves the previous experiments active."""
    experiments.refresh()
    return {"experiments": Component(True, experiments.problem)} if experiments.configured else {}


def _decision_log(resources: Resources) -> dict[str, Component]:
    """Not ready while an entry is required and cannot be stored; ready otherwise, also while entries are dropped."""
    problem, mode = resources.decisions.problem, resources.settings.decision_log
    return {"decision_log": Component(problem is None or mode != "required", problem)} if problem else {}


async def _store_unready_reason(redis: Redis) -> str | None:
    try:
        await check(redis)
    except StoreUnavailable as error:
        return error.detail
    return None
