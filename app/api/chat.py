"""POST /v1/chat/completions: OpenAI's endpoint, so that programs made for it need only another base URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api import documents
from app.api.body import parsed, read_bytes
from app.api.disconnect import while_there
from app.api.idempotency import once, refuse_key
from app.api.openai_errors import document
from app.api.problems import foreseen
from app.api.request_options import request_options
from app.api.route import refuse_fallback
from app.api.server_sent_events import HEADERS, MEDIA_TYPE
from app.api.state import principal_of, resources_of
from app.api.validation_errors import refusal
from app.auth.principal import require_backend
from app.backends.upstream import Upstream
from app.completions.chat import Chatting, chat
from app.completions.request import RequestOptions
from app.errors import NotFound
from app.pricing.prices import plain
from app.resources import Resources
from app.routing.headers import HEADER, named
from app.telemetry.metrics import RequestObservation

MAX_BYTES = 1024 * 1024
MOST_TOKENS = 1_000_000

Limit = Annotated[int, Field(gt=0, le=MOST_TOKENS)]

router = APIRouter()


class ChatRequest(BaseModel):
    """A chat completion as OpenAI's API takes it, as far as the gateway reads it; all else is passed on."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: Annotated[str, Field(description="mistral or gpt-4")]
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool | None = None
    max_completion_tokens: Limit | None = None
    max_tokens: Limit | None = None
    n: Annotated[int, Field(gt=0, le=128)] | None = None


@router.post("/v1/chat/completions", **documents.CHAT)
async def chat_completions(request: Request) -> Response:
    """A chat completion by the backend that `model` names, passed through under the same keys and limits."""
    resources, observation = resources_of(request), RequestObservation(detail="chat")
    with resources.collectors.track_request(observation):
        refuse_fallback(request)
        content = await read_bytes(request, MAX_BYTES)
        body = _checked(parsed(content))
        observation.backend = named(body["model"])
        if observation.backend is None:
            raise NotFound("the model must be mistral or gpt-4")
        require_backend(principal_of(request), observation.backend)
        options, upstream = request_options(request, resources.settings), resources.upstreams[observation.backend]
        if body.get("stream") is not True:
            whole = partial(_whole, body, upstream, options, resources)
            return await once(request, content, options, whole)
        refuse_key(request)
        observation.delegated = True
    return Streamed(body, upstream, options, resources, replace(observation, delegated=False))


async def _whole(
    body: Mapping[str, Any], upstream: Upstream, options: RequestOptions, resources: Resources
) -> Response:
    async with chat(body, upstream, options, resources.reservations) as chatting:
        content = b"".join([piece async for piece in chatting.stream])
    return Response(content, chatting.stream.status, headers=_headers(chatting, upstream) | _cost(chatting))


class Streamed(Response):
    """Passes a stream on: its status and headers once the backend has begun, then its bytes as they come.

    What ends it is sent once all is booked, after a comment that states the cost: clients leave when they have read it.
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
        self._body, self._upstream, self._options, self._resources, self._asked = (
            body,
            upstream,
            options,
            resources,
            observation,
        )
        self._events = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._resources.collectors.track_request(self._asked):
            await while_there(Request(scope, receive), self._pass(send))

    async def _pass(self, send: Send) -> None:
        last = b""
        try:
            async with chat(self._body, self._upstream, self._options, self._resources.reservations) as chatting:
                await self._begin(chatting, send)
                async for piece in chatting.stream:
                    if chatting.stream.ended:
                        last = piece
                    else:
                        await _send(send, piece)
        except Exception as error:
            known = foreseen(error)
            if self._events:
                await _send(send, b"\n\ndata: %b\n\n" % document(known), more=False)
            raise known from error
        cost = plain(chatting.cost.usd).encode() if chatting.cost else b""
        await _send(send, b": cost_usd=%b\n\n%b" % (cost, last) if self._events else last, more=False)

    async def _begin(self, chatting: Chatting, send: Send) -> None:
        headers = _headers(chatting, self._upstream)
        self._events = headers.get("Content-Type", "").startswith(MEDIA_TYPE)
        raw = Headers(headers | (HEADERS if self._events else {})).raw
        await send({"type": "http.response.start", "status": chatting.stream.status, "headers": raw})


async def _send(send: Send, piece: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})


def _checked(document: object) -> dict[str, Any]:
    """The body; `InvalidRequest` where a part is wrong that the gateway needs. The rest is the backend's to judge."""
    try:
        ChatRequest.model_validate(document)
    except ValidationError as error:
        raise refusal(error) from None
    assert isinstance(document, dict)
    return document


def _headers(chatting: Chatting, upstream: Upstream) -> dict[str, str]:
    limit_status = chatting.limit_status.headers() if chatting.limit_status else {}
    return {**chatting.stream.headers, HEADER: upstream.name, **limit_status}


def _cost(chatting: Chatting) -> dict[str, str]:
    return {} if chatting.cost is None else {"X-Cost-USD": plain(chatting.cost.usd)}
