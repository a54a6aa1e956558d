"""/v1/comparisons: both backends on the same question, the pairs that are kept, and what they tell."""

from __future__ import annotations

from typing import TypeVar

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.api import comparison_documents as documents
from app.api.body import MAX_BYTES, parsed, read_bytes
from app.api.comparison_schemas import COMPARISON, PAIRS, Comparison, KeptPair, Listing, Pairs, Reporting, Selection
from app.api.cursor import opened, sealed
from app.api.idempotency import once
from app.api.recommendations import validated
from app.api.report_csv import table
from app.api.request_options import request_options
from app.api.route import refuse_fallback
from app.api.state import principal_of, resources_of
from app.api.validation_errors import refusal
from app.auth.principal import require_backend
from app.comparison.compare import compare
from app.comparison.statistics.report import Report
from app.contract.completion import BACKEND_NAMES
from app.errors import InvalidRequest
from app.resources import Resources
from app.routing.headers import HEADER
from app.telemetry.metrics import RequestObservation

S = TypeVar("S", bound=Selection)

CSV = "text/csv"
REPORT = TypeAdapter(Report)

router = APIRouter()


@router.post("/v1/comparisons", **documents.COMPARE)
async def make(request: Request) -> Response:
    """Ask both backends at once; one that fails leaves the other's answer standing."""
    resources, observation = _allowed(request), RequestObservation()
    with resources.collectors.track_request(observation):
        refuse_fallback(request)
        if HEADER in request.headers:
            raise InvalidRequest(f"a comparison asks both backends: leave {HEADER} out")
        options, content = request_options(request, resources.settings), await read_bytes(request, MAX_BYTES)
        body = validated(parsed(content))
        observation.detail = body.detail
        if body.stream:
            raise InvalidRequest("stream must be false in a comparison", fields=[("stream", "must be false")])
        observation.delegated = True

    async def answer() -> Response:
        compared = await compare(
            body.question(),
            options,
            resources.recommender,
            resources.upstreams,
            resources.comparisons,
            resources.collectors,
        )
        return Response(COMPARISON.dump_json(Comparison.of(compared)), media_type="application/json")

    return await once(request, content, options, answer)


@router.get("/v1/comparisons", **documents.COMPARISONS)
async def listed(request: Request) -> Response:
    """The pairs that are kept, the newest first."""
    comparisons, observation = _allowed(request).comparisons, _query(request, Listing)
    secret = await comparisons.secret()
    before = None if observation.cursor is None else opened(observation.cursor, secret)
    pairs, shared_calls = await comparisons.page(
        before, observation.limit, observation.start_ms, observation.end_ms, observation.choice.mask
    )
    page = Pairs([KeptPair.of(pair) for pair in pairs], None if shared_calls is None else sealed(shared_calls, secret))
    return Response(PAIRS.dump_json(page, by_alias=True), media_type="application/json")


@router.get("/v1/comparisons/report", **documents.REPORT)
async def report(request: Request) -> Response:
    """What the pairs tell: agreement, speed and cost of both backends, and how surely that is known."""
    reports, observation = _allowed(request).reports, _query(request, Reporting)
    found = await reports.of(observation.start_ms, observation.end_ms, observation.choice, observation.half_width)
    if _wants_csv(request.headers.get("accept", "")):
        return Response(table(found), media_type=CSV, headers={"Vary": "Accept"})
    return Response(REPORT.dump_json(found), media_type="application/json", headers={"Vary": "Accept"})


def _allowed(request: Request) -> Resources:
    """The resources; raises `Forbidden` for a key that may not ask both backends: it would learn what they say."""
    principal = principal_of(request)
    for name in BACKEND_NAMES:
        require_backend(principal, name)
    return resources_of(request)


def _query(request: Request, form: type[S]) -> S:
    """The query's parameters; `InvalidRequest` names each that is wrong, is not known, or is there twice."""
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidRequest("; ".join(f"{name[:48]} is given more than once" for name in sorted(twice)))
    try:
        return form.model_validate(dict(given))
    except ValidationError as error:
        raise refusal(error) from None


def _wants_csv(accept: str) -> bool:
    """Whether CSV is named, and preferred to JSON."""
    weights = dict(_weighed(part) for part in accept.split(","))
    csv = weights.get(CSV, 0.0)
    json = weights.get("application/json", weights.get("application/*", 0.0))
    return csv > json


def _weighed(part: str) -> tuple[str, float]:
    """A media range of an Accept header and its weight."""
    kind, *parameters = (piece.strip().casefold() for piece in part.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return kind, min(1.0, max(0.0, float(weight)))
    except ValueError:
        return kind, 0.0
