"""/v1/canary: admins start, pause and roll back the canary, and read its state."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, get_args

from fastapi import APIRouter
from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.state import principal_of, resources_of
from app.auth.principal import require_admin
from app.comparison.records import moment
from app.contract.completion import CANDIDATE, INCUMBENT
from app.errors import Conflict, NotFound
from app.resources import Resources
from app.routing.canary import Canary
from app.routing.canary_policy import CanaryCheck
from app.routing.canary_store import Snapshot
from app.telemetry.labels import CanaryPhase

Action = Literal["start", "pause", "rollback"]
ACTIONS: tuple[Action, ...] = get_args(Action)

router = APIRouter()
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CanaryState:
    """The canary of all gateways on the store."""

    phase: CanaryPhase
    share: Annotated[float, Field(description="percent of the requests that the candidate gets")]
    steps: Annotated[tuple[float, ...], Field(description="this gateway's setting")]
    since: Annotated[datetime | None, Field(description="when the counting began; null if there was no canary")]
    reason: Annotated[str | None, Field(description="of the last change")]
    checks: Annotated[
        list[CanaryCheck],
        Field(
            description="each bound: `errors` is the candidate's share of failed calls minus mistral's, `latency` the "
            "share of its answers slower than mistral's p95 times the permitted ratio, `agreement` that of equal "
            "actions; `met` lets the next step come, `broken` rolls back"
        ),
    ]


STATE = TypeAdapter(CanaryState)


@router.get(
    "/v1/canary",
    **documents.operation(
        "canary", {200: documents.answer("The state.", CanaryState), **documents.problems(*documents.KEYED)}
    ),
)
async def get_canary(request: Request) -> Response:
    """The canary's share of the requests, and what was counted in its step."""
    require_admin(principal_of(request))
    canary = resources_of(request).canary
    return await _respond(await canary.look(), canary)


@router.put(
    "/v1/canary/{action}",
    **documents.operation(
        "canary",
        {
            200: documents.answer("The new state.", CanaryState),
            **documents.problems(*documents.KEYED, NotFound, Conflict),
        },
        parameters=[
            {
                **documents.parameter(
                    "action",
                    "`start` begins with the first step or continues after a pause; `pause` keeps the share; "
                    "`rollback` gives all requests to mistral",
                    "path",
                    enum=list(ACTIONS),
                ),
                "required": True,
            }
        ],
    ),
)
async def update_canary(request: Request) -> Response:
    """Start, pause or roll back the canary, on all gateways within a second or two."""
    # PUT, because a page of another site could send a POST without a body.
    admin, resources = principal_of(request), resources_of(request)
    require_admin(admin)
    action, canary = request.path_params["action"], resources.canary
    if action not in ACTIONS:
        raise NotFound(f"the action must be one of {', '.join(ACTIONS)}")
    _require_candidate(resources)
    change = {"start": canary.start, "pause": canary.pause, "rollback": canary.roll_back}[action]
    snapshot = await change()
    log.info("canary: %s", action, extra={"by": admin.id})
    return await _respond(snapshot, canary)


def _require_candidate(resources: Resources) -> None:
    """Raise `Conflict` where no request could reach the candidate."""
    if CANDIDATE not in resources.upstreams:
        raise Conflict("there is no candidate: set CONVICTION_CANDIDATE_URLS")
    if resources.settings.default_backend != INCUMBENT:
        raise Conflict(f"a canary shares the requests of {INCUMBENT}: set CONVICTION_DEFAULT_BACKEND to it")


async def _respond(snapshot: Snapshot, canary: Canary) -> Response:
    state = snapshot.state
    shown = CanaryState(
        phase=state.phase,
        share=state.share,
        steps=canary.steps,
        since=moment(state.since_ms) if state.version else None,
        reason=state.reason or None,
        checks=list(await canary.checks(snapshot)),
    )
    return Response(STATE.dump_json(shown), media_type="application/json", headers={"Cache-Control": "no-store"})
