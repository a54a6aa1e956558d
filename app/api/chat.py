"""POST /v1/chat/completions: OpenAI's endpoint, so that OpenAI clients need only another base URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api import documents
from app.api.body import parse_json, read_bytes
from app.api.disconnect import cancel_on_disconnect
from app.api.idempotency import refuse_key, respond_once
from app.api.openai_errors import ChatError, error_json
from app.api.request_options import request_options
from app.api.route import refuse_fallback
from app.api.server_sent_events import HEADERS, MEDIA_TYPE
from app.api.state import principal_of, resources_of
from app.api.validation_errors import validate
from app.auth.principal import require_backend
from app.backends.upstream import Upstream
from app.completions.chat import PendingChat, chat
from app.completions.request import RequestOptions
from app.errors import IdempotencyConflict, NotFound, client_error
from app.pricing.prices import plain
from app.resources import Resources
from app.routing.headers import HEADER, named
from app.telemetry.metrics import RequestObservation

MAX_BYTES = 1024 * 1024
MAX_TOKENS = 1_000_000

Limit = Annotated[int, Field(gt=0, le=MAX_TOKENS)]

router = APIRouter()


class ChatRequest(BaseModel):
    """A chat completion of OpenAI's API. The gateway validates these fields and passes all others on."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: Annotated[str, Field(description="mistral or gpt-4")]
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool | None = None
    max_completion_tokens: Limit | None = None
    max_tokens: Limit | None = None
    n: Annotated[int, Field(gt=0, le=128)] | None = None


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
async def chat_completions(request: Request) -> Response:
    """A chat completion by the backend that `model` names, under the same keys and limits as recommendations."""
    resources, observation = resources_of(request), RequestObservation(detail="chat")
    with resources.collectors.track_request(observation):
        refuse_fallback(request)
        content = await read_bytes(request, MAX_BYTES)
        body = parse_json(content)
        validate(ChatRequest, body)
        observation.backend = named(body["model"])
        if observation.backend is None:
            raise NotFound("the model must be mistral or gpt-4")
        require_backend(principal_of(request), observation.backend)
        options, upstream = request_options(request, resources.settings), resources.upstreams[observation.backend]
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
    return Response(content, pending.stream.status, headers=_headers(pending, upstream) | cost)


class ChatStream(Response):
    """Passes a stream on: status and headers once the backend responds, then its bytes as they arrive.

    The last event is sent after the call is charged, behind a comment that states the cost: clients disconnect when
    they have read it.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        upstream: Upstream,
        options: RequestOptions,
        resources: Resources,
        observation: RequestObservation,
    ) -> None:
        super().__init__()
        self._body, self._upstream, self._options = body, upstream, options
        self._resources, self._observation = resources, observation
        self._events = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._resources.collectors.track_request(self._observation):
            await cancel_on_disconnect(Request(scope, receive), self._relay(send))

    async def _relay(self, send: Send) -> None:
        last = b""
        try:
            async with chat(self._body, self._upstream, self._options, self._resources.reservations) as pending:
                await self._start(pending, send)
                async for piece in pending.stream:
                    if pending.stream.ended:
                        last = piece
                    else:
                        await _send(send, piece)
        except Exception as error:
            known = client_error(error)
            if self._events:
                await _send(send, b"\n\ndata: %b\n\n" % error_json(known), more=False)
            raise known from error
        cost = plain(pending.cost.usd).encode() if pending.cost else b""
        await _send(send, b": cost_usd=%b\n\n%b" % (cost, last) if self._events else last, more=False)

    async def _start(self, pending: PendingChat, send: Send) -> None:
        headers = _headers(pending, self._upstream)
        self._events = headers.get("Content-Type", "").startswith(MEDIA_TYPE)
        raw = Headers(headers | (HEADERS if self._events else {})).raw
        await send({"type": "http.response.start", "status": pending.stream.status, "headers": raw})


async def _send(send: Send, piece: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})


def _headers(pending: PendingChat, upstream: Upstream) -> dict[str, str]:
    limit_status = pending.limit_status.headers() if pending.limit_status else {}
    return {**pending.stream.headers, HEADER: upstream.name, **limit_status}
