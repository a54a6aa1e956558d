"""POST /v1/recommendations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Set
from contextlib import aclosing
from dataclasses import replace

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from app.api import answer_fields, documents, examples, server_sent_events
from app.api.answer_fields import requested_fields
from app.api.body import MAX_BYTES, parse_json, read_bytes
from app.api.disconnect import CancellableStream
from app.api.idempotency import refuse_key, respond_once
from app.api.problems import Problem, problem
from app.api.request_options import request_options
from app.api.request_route import RequestRoute
from app.api.route import FROM, RequestRouter, route_headers
from app.api.schemas import RecommendationRequest
from app.api.server_sent_events import event
from app.api.state import resources_of
from app.api.validation_errors import validate
from app.contract.recommendation import BriefAnswer
from app.decision_log.log import DecisionLog
from app.errors import DecisionLogUnavailable, IdempotencyConflict, UnknownBackend, client_error
from app.recommend import Answer
from app.recommendation import Recommendation
from app.routing.fallback import AnswerStrategy
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

DELTA = {"type": "object", "required": ["delta"], "properties": {"delta": {"type": "string"}}}
EVENTS = [
    documents.event("decision", documents.schema(BriefAnswer)),
    documents.event("analysis", DELTA),
    documents.event("recommendation", documents.schema(Recommendation)),
    documents.event("error", documents.schema(Problem)),
]

router = APIRouter(route_class=RequestRoute)


@router.post(
    "/v1/recommendations",
    **documents.operation(
        "recommendations",
        {
            200: documents.answer(
                "The recommendation; with `stream`, events: in full `decision`, then `analysis`, each with a "
                "`delta`; then `recommendation` or, with a problem, `error`.",
                {
                    "application/json": {"schema": documents.schema(Recommendation)},
                    **documents.event_stream({"oneOf": EVENTS}),
                },
                **documents.BACKEND_HEADER,
                **documents.RATE_LIMIT,
                **documents.REPLAYED,
                **{
                    "Age": documents.header("seconds since a cached answer was computed"),
                    FROM: documents.header("the backend that failed before another answered"),
                },
            ),
            **documents.problems(
                *(*documents.KEYED, *documents.BODY, *documents.MARKET, *documents.MODEL, *documents.LIMITS),
                *(UnknownBackend, IdempotencyConflict, DecisionLogUnavailable),
            ),
        },
        parameters=[
            *(documents.BACKEND, documents.FALLBACK_BACKEND, documents.FOR_SUBJECT),
            *(documents.TIMEOUT, documents.CACHE_CONTROL, documents.IDEMPOTENCY_KEY, answer_fields.PARAMETER),
        ],
        requestBody=documents.request_body(RecommendationRequest, examples=examples.REQUESTS),
    ),
)
async def recommend(request: Request) -> Response:
    """Buy, sell or hold one stock, and how sure."""
    timer, resources = RequestTimer(), resources_of(request)
    observation = RequestObservation()
    with resources.collectors.track_request(observation):
        routing, options = RequestRouter(request, observation), request_options(request, resources.settings)
        fields = requested_fields(request)
        with timer.waiting():
            content = await read_bytes(request, MAX_BYTES, options.deadline)
        body = validate(RecommendationRequest, parse_json(content))
        observation.detail = body.detail
        strategy, decisions = routing.strategy(body.question(), options, timer, observation), resources.decisions
        if not body.stream:

            async def respond() -> Response:
                decisions.require()
                answer = await strategy.recommend()
                await decisions.record(answer.recommendation, options.principal)
                return _response(answer, strategy, fields)

            return await respond_once(request, content, options, respond)
        refuse_key(request)
        decisions.require()
        observation.delegated = True
    return EventStream(replace(strategy, observation=replace(observation, delegated=False)), decisions, fields)


class EventStream(CancellableStream):
    """The answer as events. Where several backends may answer, the headers are sent with the first event: they name
    the backend."""

    def __init__(self, strategy: AnswerStrategy, decisions: DecisionLog, fields: Set[str] | None) -> None:
        super().__init__(
            _events(strategy, decisions, fields),
            media_type=server_sent_events.MEDIA_TYPE,
            headers=server_sent_events.HEADERS,
        )
        self._strategy = strategy

    async def stream_response(self, send: Send) -> None:
        if not self._strategy.route.certain:
            self.body_iterator = _prepend(await anext(self.body_iterator), self.body_iterator)
        self.headers.update(route_headers(self._strategy))
        await super().stream_response(send)


async def _prepend(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for each in rest:
            yield each


async def _events(
    strategy: AnswerStrategy, decisions: DecisionLog, fields: Set[str] | None
) -> AsyncGenerator[bytes, None]:
    """Yield the decision, the analysis in pieces, then the recommendation or the error."""
    try:
        with strategy.collectors.track_request(strategy.observation):
            async with aclosing(strategy.stream()) as parts:
                async for part in parts:
                    match part:
                        case BriefAnswer():
                            yield event("decision", part.model_dump_json().encode())
                        case str():
                            yield event("analysis", to_json({"delta": part}))
                        case Answer():
                            await decisions.record(part.recommendation, strategy.options.principal)
                            yield event("recommendation", answer_fields.to_json(part.recommendation, fields))
    except Exception as error:  # noqa: BLE001 - sent to the client, and logged if unexpected
        yield event("error", problem(client_error(error)).model_dump_json(exclude_defaults=True).encode())


def _response(answer: Answer, strategy: AnswerStrategy, fields: Set[str] | None) -> Response:
    age = {} if answer.age_s is None else {"Age": str(int(answer.age_s))}
    limit_status = answer.limit_status.headers() if answer.limit_status else {}
    headers = {**route_headers(strategy), **age, **limit_status}
    content = answer_fields.to_json(answer.recommendation, fields)
    return Response(content, media_type="application/json", headers=headers)
