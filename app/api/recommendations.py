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

from app.answer import RECOMMENDATION
from app.api import documents, server_sent_events
from app.api.body import MAX_BYTES, parsed, read_bytes
from app.api.departure import Streamed
from app.api.once import once, refuse_key
from app.api.problems import foreseen, problem
from app.api.refusals import refusal
from app.api.schemas import RecommendationRequest
from app.api.server_sent_events import event
from app.api.state import holder_of, resources_of
from app.api.terms import terms_of
from app.asking import Terms
from app.holder import require_backend
from app.lane import Lane
from app.metrics import Asked
from app.recommend import Answered, Question, narrate, recommend
from app.resources import Resources
from app.routing import HEADER, choose_backend
from app.stopwatch import Stopwatch

router = APIRouter()


@router.post("/v1/recommendations", **documents.RECOMMENDATIONS)
async def recommendations(request: Request) -> Response:
    """Buy, sell or hold one stock, and how sure."""
    watch, resources = Stopwatch(), resources_of(request)
    asked = Asked()
    with resources.collectors.request(asked):
        asked.backend = choose_backend(request.headers.getlist(HEADER), resources.settings.default_backend)
        require_backend(holder_of(request), asked.backend)
        terms, lane = terms_of(request, resources.settings), resources.lanes[asked.backend]
        with watch.waiting():
            content = await read_bytes(request, MAX_BYTES)
        body = validated(parsed(content))
        asked.detail = body.detail
        if not body.stream:

            async def answer() -> Response:
                return _response(await recommend(body.question(), lane, terms, resources, watch))

            return await once(request, content, terms, answer)
        refuse_key(request)
        asked.handed_on = True
    events = _events(body.question(), lane, terms, resources, watch, asked)
    headers = {HEADER: lane.name, **server_sent_events.HEADERS}
    return Streamed(events, media_type=server_sent_events.MEDIA_TYPE, headers=headers)


async def _events(
    question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch, asked: Asked
) -> AsyncGenerator[bytes, None]:
    """The analysis in pieces, then the recommendation, or what went wrong."""
    try:
        with resources.collectors.request(replace(asked, handed_on=False)):
            async with aclosing(narrate(question, lane, terms, resources, watch)) as told:
                async for piece in told:
                    if isinstance(piece, str):
                        yield event("analysis", to_json({"delta": piece}))
                    else:
                        yield event("recommendation", RECOMMENDATION.dump_json(piece.recommendation))
    except Exception as error:  # noqa: BLE001 - told, and logged where nobody thought of it
        yield event("error", problem(foreseen(error)).model_dump_json(exclude_defaults=True).encode())


def _response(answered: Answered) -> Response:
    age = {} if answered.age_s is None else {"Age": str(int(answered.age_s))}
    standing = answered.standing.headers() if answered.standing else {}
    headers = {HEADER: answered.recommendation.backend, **age, **standing}
    return Response(RECOMMENDATION.dump_json(answered.recommendation), media_type="application/json", headers=headers)


def validated(document: object) -> RecommendationRequest:
    """The request that a document is; `InvalidRequest` names each field that is wrong."""
    try:
        return RecommendationRequest.model_validate(document)
    except ValidationError as error:
        raise refusal(error) from None
