"""The OpenAPI document, and the page that shows it with scripts from an installed package."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app import __version__
from app.api.documents import MODELS
from app.api.examples import ANSWERS

TITLE = "Conviction"
DESCRIPTION = """Buy, sell or hold, and how sure: for a US stock, from option statistics and technical \
indicators, by a fine-tuned Mistral 7B or a GPT-4 behind the same request. Not investment advice."""
ASSETS = "/docs/assets"


def document(app: FastAPI, keyed: bool) -> dict[str, Any]:
    """Return the document, built on the first call; `keyed`: whether requests need an API key."""
    if app.openapi_schema is None:
        built = get_openapi(title=TITLE, version=__version__, description=DESCRIPTION, routes=app.routes)
        recommended = built["paths"]["/v1/recommendations"]["post"]["responses"]["200"]
        # Added afterwards: FastAPI drops every null from what it builds, and the answers contain nulls.
        recommended["content"]["application/json"]["examples"] = ANSWERS
        models: list[tuple[Hashable, JsonSchemaMode, TypeAdapter[Any]]] = [
            (model, mode, TypeAdapter(model)) for model, mode in MODELS
        ]
        _, schemas = TypeAdapter.json_schemas(models, ref_template="#/components/schemas/{model}")
        components = built.setdefault("components", {})
        components["schemas"] = schemas["$defs"]
        if keyed:
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            built["security"] = [{"bearer": []}, {"key": []}]
        app.openapi_schema = built
    return app.openapi_schema


def add_docs(app: FastAPI) -> None:
    """Serve the page at /docs."""

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
