"""POST /v1/chat/completions: OpenAI's endpoint, so that OpenAI clients need only another base URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.body import parse_json, read_bytes
from app.api.chat_grammar import check_grammars
from app.api.chat_schemas import ChatRequest
from app.api.chat_stream import ChatStream, response_headers
from app.api.idempotency import refuse_key, respond_once
from app.api.openai_errors import ChatError
from app.api.request_options import request_options
from app.api.request_route import RequestRoute
from app.api.route import refuse_fallback
from app.api.state import principal_of, resources_of
from app.api.validation_errors import validate
from app.auth.principal import require_backend, require_chat
from app.backends.upstream import Upstream
from app.completions.chat import chat
from app.completions.request import RequestOptions
from app.errors import IdempotencyConflict, NotFound
from app.pricing.prices import plain
from app.resources import Resources
from app.routing.headers import named
from app.telemetry.metrics import RequestObservation

MAX_BYTES = 1024 * 1024

router = APIRouter(route_class=RequestRoute)


@router.post(
    "/v1/chat/completions",
    **documents.operation(
        "chat",
        {
            200: documents.answer(
                "The backend's response; a stream includes a comment that states the cost.",
                {
                    "application/json": {"schema": {"type": "object"}},
                    **documents.event_stream(
                        {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}
                    ),
                },
                **documents.BACKEND_HEADER,
                **documents.RATE_LIMIT,
                **documents.REPLAYED,
                **{"X-Cost-USD": documents.header("the cost; absent from a stream")},
            ),
            **documents.problems(
                *(*documents.KEYED, *documents.BODY, *documents.MODEL, *documents.LIMITS),
                *(NotFound, IdempotencyConflict),
                media_type="application/json",
                model=ChatError,
            ),
        },
        parameters=[documents.TIMEOUT, documents.IDEMPOTENCY_KEY],
        requestBody=documents.request_body(ChatRequest),
    ),
)
async def create_chat_completion(request: Request) -> Response:
    """A chat completion by the backend that `model` names, under the same keys and limits as recommendations."""
    resources, observation = resources_of(request), RequestObservation(detail="chat")
    with resources.collectors.track_request(observation):
        require_chat(principal_of(request))
        refuse_fallback(request)
        options = request_options(request, resources.settings)
        content = await read_bytes(request, MAX_BYTES, options.deadline)
        body = parse_json(content)
        validate(ChatRequest, body)
        name = named(body["model"])
        if name is None or name not in resources.upstreams:
            raise NotFound(f"the model must be {' or '.join(resources.upstreams)}")
        observation.backend = name
        require_backend(principal_of(request), name)
        if name != "gpt-4":
            check_grammars(body)
        upstream = resources.upstreams[name]
        if body.get("stream") is not True:
            work = partial(_whole_response, body, upstream, options, resources)
            return await respond_once(request, content, options, work)
        refuse_key(request)
        observation.delegated = True
    return ChatStream(body, upstream, options, resources, replace(observation, delegated=False))


async def _whole_response(
    body: Mapping[str, Any], upstream: Upstream, options: RequestOptions, resources: Resources
) -> Response:
    async with chat(body, upstream, options, resources.reservations) as pending:
        content = b"".join([piece async for piece in pending.stream])
    cost = {} if pending.cost is None else {"X-Cost-USD": plain(pending.cost.usd)}
    return Response(content, pending.stream.status, headers=response_headers(pending, upstream) | cost)
