"""GET /v1/recommendations: the decision log. A key reads the answers that it received, an admin's key all."""

from __future__ import annotations

import re

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.decision_cursor import decode_cursor, encode_cursor
from app.api.decision_schemas import DecisionQuery, LoggedRecommendations, RatedRecommendation
from app.api.feedback_schemas import feedback_document
from app.api.query import read_query
from app.api.state import principal_of, resources_of
from app.decision_log.queries import Decision, Position
from app.errors import Conflict, DecisionLogUnavailable, InvalidRequest, NotFound

TAG = "recommendations"
ID = re.compile("rec_[0-9a-f]{32}")

router = APIRouter()


class _Id(Convertor[str]):
    """A segment of a path, but not that of the batch endpoint, which answers other methods."""

    regex = "(?!batch$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("recommendation", _Id())


@router.get(
    "/v1/recommendations",
    **documents.operation(
        TAG,
        {
            200: documents.answer("A page of logged recommendations.", LoggedRecommendations),
            **documents.problems(*documents.KEYED, InvalidRequest, Conflict, DecisionLogUnavailable),
        },
        parameters=documents.query_parameters(DecisionQuery),
    ),
)
async def list_decisions(request: Request) -> Response:
    """The logged recommendations that the key received, the newest first; an admin's key sees those of all keys."""
    query = read_query(request, DecisionQuery)
    selection = query.selection(_reader(request))
    before = None if query.cursor is None else decode_cursor(query.cursor, selection)
    found = await resources_of(request).decisions.page(selection, before, query.limit + 1)
    shown, more = found[: query.limit], len(found) > query.limit
    following = encode_cursor(Position(shown[-1].at, shown[-1].id), selection) if more else None
    content = b",".join(map(_document, shown))
    return _json(b'{"recommendations":[%s],"next":%s}' % (content, to_json(following)))


@router.get(
    "/v1/recommendations/{recommendation_id:recommendation}",
    **documents.operation(
        TAG,
        {
            200: documents.answer("The logged recommendation.", RatedRecommendation),
            **documents.problems(*documents.KEYED, NotFound, Conflict, DecisionLogUnavailable),
        },
        parameters=[{**documents.parameter("recommendation_id", "the `id` of the answer", "path"), "required": True}],
    ),
)
async def get_decision(request: Request) -> Response:
    """One logged recommendation: inputs, model, answer, cost, principal and the feedback on it."""
    found = await find_decision(request, request.path_params["recommendation_id"])
    feedback = await resources_of(request).decisions.feedback_on(found.id)
    return _json(b'%s,"feedback":[%s]}' % (_document(found)[:-1], b",".join(map(feedback_document, feedback))))


async def find_decision(request: Request, decision_id: str) -> Decision:
    """Return a decision that the request's key may read. Raises `NotFound`."""
    decisions = resources_of(request).decisions
    found = await decisions.find(decision_id, _reader(request)) if ID.fullmatch(decision_id) else None
    if found is None:
        raise NotFound("no recommendation that this key received has this id")
    return found


def _reader(request: Request) -> str | None:
    """Return the principal whose recommendations the key may read; None for all."""
    principal = principal_of(request)
    return None if principal.admin else principal.id


def _document(decision: Decision) -> bytes:
    """Return a `LoggedRecommendation` that holds the stored JSON, also that of an earlier version of the gateway."""
    principal = {"id": decision.principal_id, "name": decision.principal_name}
    head = to_json({"principal": principal, "cached": decision.source == "cache"})
    return b'%s,"recommendation":%s}' % (head[:-1], decision.recommendation.encode())


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})
