"""The OpenAPI document, and the page that shows it without asking anybody else for its scripts."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app import __version__
from app.api.backends import BACKENDS
from app.api.batches import BatchRequest
from app.api.chat import ChatRequest
from app.api.comparison_schemas import COMPARISON, PAIRS
from app.api.comparisons import REPORT
from app.api.costs import COSTS
from app.api.examples import ANSWERS
from app.api.health import READINESS
from app.api.key_schemas import NewKey
from app.api.keys import ISSUED, KEYS
from app.api.openai_errors import ChatError
from app.api.problems import Problem
from app.api.schemas import Liveness, RecommendationRequest
from app.recommendation import RECOMMENDATION

TITLE = "Conviction"
DESCRIPTION = """Buy, sell or hold, and how sure: for a US stock, from option statistics and technical \
indicators, by a fine-tuned Mistral 7B or a GPT-4 behind the same request. Not investment advice."""
ASSETS = "/docs/assets"


def document(app: FastAPI, keyed: bool) -> dict[str, Any]:
    """The whole document; built once, when it is first asked for."""
    if app.openapi_schema is None:
        built = get_openapi(title=TITLE, version=__version__, description=DESCRIPTION, routes=app.routes)
        recommended = built["paths"]["/v1/recommendations"]["post"]["responses"]["200"]
        # Only now: FastAPI drops every null from what it builds, and answers have some.
        recommended["content"]["application/json"]["examples"] = ANSWERS
        components = built.setdefault("components", {})
        components["schemas"] = _schemas()
        if keyed:
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            built["security"] = [{"bearer": []}, {"key": []}]
        app.openapi_schema = built
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    request, problem = TypeAdapter(RecommendationRequest), TypeAdapter(Problem)
    _, schemas = TypeAdapter.json_schemas(
        [
            ("request", "validation", request),
            ("recommendation", "serialization", RECOMMENDATION),
            ("batch", "validation", TypeAdapter(BatchRequest)),
            ("chat", "validation", TypeAdapter(ChatRequest)),
            ("chat error", "serialization", TypeAdapter(ChatError)),
            ("comparison", "serialization", COMPARISON),
            ("pairs", "serialization", PAIRS),
            ("report", "serialization", REPORT),
            ("backends", "serialization", BACKENDS),
            ("costs", "serialization", COSTS),
            ("new key", "validation", TypeAdapter(NewKey)),
            ("issued key", "serialization", ISSUED),
            ("keys", "serialization", KEYS),
            ("liveness", "serialization", TypeAdapter(Liveness)),
            ("readiness", "serialization", READINESS),
            ("problem", "serialization", problem),
        ],
        ref_template="#/components/schemas/{model}",
    )
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def add_docs(app: FastAPI) -> None:
    """Serve the page at /docs, its scripts from an installed package."""

    async def docs(request: Request) -> Response:  # noqa: ARG001
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=TITLE,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        )

    app.mount(ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]), name="assets")
    app.add_route("/docs", docs, include_in_schema=False)
