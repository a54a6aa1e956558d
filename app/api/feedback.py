"""POST /v1/feedback: verdicts and realised outcomes of logged recommendations."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.body import read_json
from app.api.decisions import TAG, find_decision
from app.api.feedback_schemas import NewFeedback, StoredFeedback, feedback_document
from app.api.state import principal_of, resources_of
from app.api.validation_errors import validate
from app.decision_log.feedback import Feedback
from app.decision_log.tables import microseconds
from app.errors import Conflict, DecisionLogUnavailable, FeedbackConflict, NotFound

router = APIRouter()


@router.post(
    "/v1/feedback",
    **documents.operation(
        TAG,
        {
            200: documents.answer("The stored feedback; also for a repeated request.", StoredFeedback),
            **documents.problems(
                *(*documents.KEYED, *documents.BODY, NotFound, Conflict, FeedbackConflict, DecisionLogUnavailable)
            ),
        },
        requestBody=documents.request_body(NewFeedback),
    ),
)
async def create_feedback(request: Request) -> Response:
    """Store a verdict or a realised outcome beside the logged recommendation."""
    body = validate(NewFeedback, await read_json(request))
    principal, decisions = principal_of(request), resources_of(request).decisions
    decision = await find_decision(request, body.recommendation_id)
    now = microseconds(datetime.now(UTC))
    stored = await decisions.add_feedback(
        Feedback(decision.id, principal.id, body.kind, principal.name, now, body.content)
    )
    if stored is None:
        raise NotFound("the recommendation has expired")
    if stored.content != body.content:
        raise FeedbackConflict(f"this key has sent another {body.kind.split()[0]} for the recommendation before")
    return Response(feedback_document(stored), media_type="application/json", headers={"Cache-Control": "no-store"})
