"""The application: middleware, endpoints and lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from app.api import (
    backends,
    batches,
    canary,
    chat,
    comparisons,
    console,
    costs,
    decisions,
    feedback,
    health,
    keys,
    market,
    metrics,
    models,
    openapi,
    recommendations,
)
from app.api.authentication import Authentication
from app.api.context import RequestContext
from app.api.problems import translate_router_error
from app.api.request_span import RequestSpan
from app.auth.key_file import load_keys
from app.auth.principal import default_limits
from app.comparison.sectors import read_sectors
from app.contract.completion import BackendName
from app.pricing.price_list import price_list
from app.pricing.prices import Price
from app.resources import Resources, open_resources
from app.routing.experiments_file import Experiments
from app.serving.drain import Drain
from app.serving.loop_lag import LoopLag
from app.settings.gateway import Settings
from app.stores.exposure import require_password
from app.telemetry.exporters import MetricExporter, TraceExporter

OpenResources = Callable[[Settings, Mapping[BackendName, Price]], AbstractAsyncContextManager[Resources]]


def create_app(
    settings: Settings,
    opened: OpenResources = open_resources,
    drain: Drain | None = None,
    lag: LoopLag | None = None,
) -> FastAPI:
    """Return the gateway. `drain` holds whether it is stopping; `lag` measures the delay of its event loop.

    Raises `InvalidSettings`.
    """
    if not settings.allow_open_store:
        require_password(settings.redis_url)
    limits, prices = default_limits(settings), price_list(settings)
    keyring = load_keys(settings.api_keys_file, limits)
    experiments, sectors = Experiments(settings.experiments_file), read_sectors(settings.universe_file)
    traces = TraceExporter() if settings.traces else None
    measures = MetricExporter() if settings.otel_metrics else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            traces.running() if traces else nullcontext(),
            measures.running() if measures else nullcontext(),
            opened(settings, prices) as resources,
        ):
            app.state.resources = resources
            app.state.dependencies = health.DependencyCheck(resources)
            with lag.monitoring(resources.collectors) if lag else nullcontext():
                yield

    app = FastAPI(
        lifespan=lifespan,
        middleware=[  # outermost first
            *([Middleware(RequestSpan)] if traces else []),
            Middleware(RequestContext),
            Middleware(Authentication, keys=keyring, limits=limits, open_docs=settings.open_docs),
        ],
        exception_handlers={HTTPException: translate_router_error},
        # FastAPI's own traces record paths and error messages, which may hold ids and user input.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        openapi_url=None,  # app.api.openapi serves the document and its page
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for endpoints in (
        *(recommendations, decisions, feedback, chat, batches, comparisons),
        *(keys, backends, canary, costs, market, health, metrics, models),
    ):
        # `include_router` would match each request router by router, and again in the one that has its endpoint.
        app.router.routes.extend(endpoints.router.routes)
    app.state.drain, app.state.experiments, app.state.sectors = drain or Drain(), experiments, sectors
    openapi.add_docs(app)
    console.add_console(app)
    app.openapi = lambda: openapi.document(app, keyed=keyring is not None)  # type: ignore[method-assign]
    return app
