"""POST /v1/recommendations."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from fastapi import APIRouter
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from app.api import documents, server_sent_events
from app.api.body import MAX_BYTES, parsed, read_bytes
from app.api.disconnect import Streamed
from app.api.idempotency import once, refuse_key
from app.api.problems import foreseen, problem
from app.api.request_options import request_options
from app.api.route import Routes, route_headers
from app.api.schemas import RecommendationRequest
from app.api.server_sent_events import event
from app.api.state import resources_of
from app.api.validation_errors import refusal
from app.recommend import Answered
from app.recommendation import RECOMMENDATION
from app.routing.cascade import strategy_for
from app.routing.fallback import AnswerStrategy
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

router = APIRouter()


@router.post("/v1/recommendations", **documents.RECOMMENDATIONS)
async def recommendations(request: Request) -> Response:
    """Buy, sell or hold one stock, and how sure."""
    timer, resources = RequestTimer(), resources_of(request)
    observation = RequestObservation()
    with resources.collectors.track_request(observation):
        routes, options = Routes(request, observation), request_options(request, resources.settings)
        with timer.waiting():
            content = await read_bytes(request, MAX_BYTES)
        body = validated(parsed(content))
        observation.detail = body.detail
        question = body.question()
        strategy = strategy_for(
            question,
            routes.route(question, observation),
            options,
            resources.recommender,
            resources.collectors,
            timer,
            observation,
            resources.shadow,
        )
        if not body.stream:

            async def answer() -> Response:
                return _response(await strategy.recommend(), strategy)

            return await once(request, content, options, answer)
        refuse_key(request)
        observation.delegated = True
    return Events(replace(strategy, observation=replace(observation, delegated=False)))


class Events(Streamed):
    """The answer as events. Where any of several backends may answer, the head waits for the first: it says whose it
    is."""

    def __init__(self, strategy: AnswerStrategy) -> None:
        super().__init__(
            _events(strategy), media_type=server_sent_events.MEDIA_TYPE, headers=server_sent_events.HEADERS
        )
        self._strategy = strategy

    async def stream_response(self, send: Send) -> None:
        if not self._strategy.route.certain:
            self.body_iterator = _from(await anext(self.body_iterator), self.body_iterator)
        self.headers.update(route_headers(self._strategy.route, self._strategy.observation))
        await super().stream_response(send)


async def _from(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for each in rest:
            yield each


async def _events(strategy: AnswerStrategy) -> AsyncGenerator[bytes, None]:
    """The analysis in pieces, then the recommendation, or what went wrong."""
    try:
        with strategy.collectors.track_request(strategy.observation):
            async with aclosing(strategy.stream()) as told:
                async for piece in told:
                    if isinstance(piece, str):
                        yield event("analysis", to_json({"delta": piece}))
                    else:
                        yield event("recommendation", RECOMMENDATION.dump_json(piece.recommendation))
    except Exception as error:  # noqa: BLE001 - told, and logged where nobody thought of it
        yield event("error", problem(foreseen(error)).model_dump_json(exclude_defaults=True).encode())


def _response(answered: Answered, strategy: AnswerStrategy) -> Response:
    age = {} if answered.age_s is None else {"Age": str(int(answered.age_s))}
    limit_status = answered.limit_status.headers() if answered.limit_status else {}
    headers = {**route_headers(strategy.route, strategy.observation), **age, **limit_status}
    return Response(RECOMMENDATION.dump_json(answered.recommendation), media_type="application/json", headers=headers)


def validated(document: object) -> RecommendationRequest:
    """The request that a document is; `InvalidRequest` names each field that is wrong."""
    try:
        return RecommendationRequest.model_validate(document)
    except ValidationError as error:
        raise refusal(error) from None
