"""POST /v1/recommendations."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.answer import RECOMMENDATION
from app.api import documents
from app.api.body import read_json
from app.api.refusals import refusal
from app.api.schemas import RecommendationRequest
from app.api.state import holder_of, resources_of
from app.holder import require_backend
from app.recommend import recommend
from app.routing import HEADER, choose_backend
from app.stopwatch import Stopwatch

router = APIRouter()


@router.post("/v1/recommendations", **documents.RECOMMENDATIONS)
async def recommendations(request: Request) -> Response:
    """Buy, sell or hold one stock, and how sure."""
    watch = Stopwatch()
    resources, holder = resources_of(request), holder_of(request)
    with resources.collectors.request() as asked:
        asked.backend = choose_backend(request.headers.getlist(HEADER), resources.settings.default_backend)
        require_backend(holder, asked.backend)
        with watch.waiting():
            document = await read_json(request)
        body = _validate(document)
        asked.detail = body.detail
        answer = await recommend(body.question(), resources.backends[asked.backend], resources, watch)
    content = RECOMMENDATION.dump_json(answer)
    return Response(content, media_type="application/json", headers={HEADER: answer.backend})


def _validate(document: object) -> RecommendationRequest:
    try:
        return RecommendationRequest.model_validate(document)
    except ValidationError as error:
        raise refusal(error) from None
