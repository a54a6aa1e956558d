"""The OpenAPI document, and the page that shows it with scripts from an installed package."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app import __version__
from app.api.documents import ERROR_CODES, MODELS
from app.api.examples import RECORDED
from app.api.openai_errors import PATHS as CHAT_PATHS
from app.api.problem_examples import CHAT_ERRORS, PROBLEMS

TITLE = "Conviction"
DESCRIPTION = """Buy, sell or hold, and how sure: for a US stock, from option statistics and technical \
indicators, by a fine-tuned Mistral 7B or a GPT-4 behind the same request. Not investment advice."""
DOCUMENT, PAGE, ASSETS = "/openapi.json", "/docs", "/docs/assets"


def document(app: FastAPI, keyed: bool) -> dict[str, Any]:
    """Return the document, built on the first call; `keyed`: whether requests need an API key."""
    if app.openapi_schema is None:
        for route in app.routes:
            if isinstance(route, APIRoute):
                route.operation_id = _operation_id(route)
        built = get_openapi(title=TITLE, version=__version__, description=DESCRIPTION, routes=app.routes)
        for path, operations in built["paths"].items():
            for method, operation in operations.items():
                _add_examples(path, method, operation["responses"])
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


def _operation_id(route: APIRoute) -> str:
    """Return the name of the endpoint's function in camel case, such as listKeys."""
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _add_examples(path: str, method: str, responses: dict[str, Any]) -> None:
    """Add an example of each error code, and the recorded examples, which replace those of the same code.

    They are added to the built document, because FastAPI drops every null from what it builds.
    """
    recorded = RECORDED.get(f"{method.upper()} {path}", {})
    of_code = CHAT_ERRORS if path.startswith(CHAT_PATHS) else PROBLEMS
    for status, response in responses.items():
        errors = {code: of_code[code] for code in response.get(ERROR_CODES, ())}
        for media_type, content in response.get("content", {}).items():
            content["examples"] = errors | recorded.get(status, {}).get(media_type, {})


def add_docs(app: FastAPI) -> None:
    """Serve the document and the page."""

    @cache
    def content() -> bytes:
        return to_json(app.openapi())

    async def openapi(request: Request) -> Response:  # noqa: ARG001
        return Response(content(), media_type="application/json")

    async def docs(request: Request) -> Response:  # noqa: ARG001
        return get_swagger_ui_html(
            openapi_url=DOCUMENT,
            title=TITLE,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        )

    app.mount(ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]), name="assets")
    app.add_route(PAGE, docs, include_in_schema=False)
    app.add_route(DOCUMENT, openapi, include_in_schema=False)
