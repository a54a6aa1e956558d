"""/v1/comparisons: two backends on the same question, the stored pairs, and the report of them."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents, examples, pairs_csv
from app.api.body import MAX_BYTES, parse_json, read_bytes
from app.api.comparison_queries import PairQuery, ReportQuery, SidesQuery
from app.api.comparison_schemas import Comparison
from app.api.cursor import decode_cursor, encode_cursor
from app.api.disconnect import CancellableStream
from app.api.idempotency import respond_once
from app.api.pair_schemas import KeptPair, Pairs
from app.api.pairs_csv import Page
from app.api.query import read_query
from app.api.report_csv import table
from app.api.request_options import request_options
from app.api.route import refuse_fallback
from app.api.schemas import RecommendationRequest
from app.api.state import principal_of, resources_of, sectors_of
from app.api.validation_errors import validate
from app.auth.principal import require_backend
from app.comparison.choice import Choice
from app.comparison.compare import compare
from app.comparison.pair_store import Comparisons, Mask
from app.comparison.records import Sides
from app.comparison.statistics.report import Report
from app.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    DecisionLogUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    Overloaded,
)
from app.recommendation import Recommendation
from app.routing.headers import HEADER
from app.telemetry.metrics import RequestObservation

CSV = "text/csv"
CSV_HEADERS = {"Vary": "Accept", "Content-Disposition": 'attachment; filename="pairs.csv"'}
TAG = "comparisons"
COMPARISON, PAIRS, REPORT = TypeAdapter(Comparison), TypeAdapter(Pairs), TypeAdapter(Report)

router = APIRouter()


@router.post(
    "/v1/comparisons",
    **documents.operation(
        TAG,
        {
            200: documents.answer("Each backend's answer or problem.", Comparison, **documents.REPLAYED),
            **documents.problems(
                *(*documents.KEYED, *documents.BODY, *documents.MARKET, *documents.LIMITS),
                *(IdempotencyConflict, BackendUnavailable, DeadlineExceeded, DecisionLogUnavailable),
            ),
        },
        parameters=[
            *documents.query_parameters(SidesQuery),
            *(documents.TIMEOUT, documents.IDEMPOTENCY_KEY),
        ],
        requestBody=documents.request_body(RecommendationRequest, examples=examples.REQUESTS),
    ),
)
async def create_comparison(request: Request) -> Response:
    """Ask two backends concurrently; if one fails, the other's answer is still returned."""
    resources, observation = resources_of(request), RequestObservation()
    names = read_query(request, SidesQuery).names
    _require_backends(request, names)
    with resources.collectors.track_request(observation):
        upstreams = {name: resources.upstream(name) for name in names}
        refuse_fallback(request)
        if HEADER in request.headers:
            raise InvalidRequest(f"a comparison asks both backends: omit {HEADER}")
        options = request_options(request, resources.settings)
        content = await read_bytes(request, MAX_BYTES, options.deadline)
        body = validate(RecommendationRequest, parse_json(content))
        observation.detail = body.detail
        if body.stream:
            raise InvalidRequest("stream must be false in a comparison", fields=[("stream", "must be false")])
        observation.delegated = True

    async def respond() -> Response:
        resources.decisions.require()
        compared = await compare(
            body.question(),
            options,
            resources.recommender,
            upstreams,
            resources.comparisons,
            resources.collectors,
        )
        for outcome in compared.outcomes.values():
            if isinstance(outcome, Recommendation):
                await resources.decisions.record(outcome, options.principal)
        return Response(COMPARISON.dump_json(Comparison.of(compared)), media_type="application/json")

    return await respond_once(request, content, options, respond)


@router.get(
    "/v1/comparisons",
    **documents.operation(
        TAG,
        {
            200: documents.answer(
                "A page of pairs; all selected pairs as CSV, without `limit` and `cursor`, if `Accept` prefers it.",
                {"application/json": {"schema": documents.schema(Pairs)}, CSV: {"schema": {"type": "string"}}},
            ),
            **documents.problems(*documents.KEYED, InvalidRequest),
        },
        parameters=documents.query_parameters(PairQuery),
    ),
)
async def list_comparisons(request: Request) -> Response:
    """The stored pairs, the newest first."""
    query = read_query(request, PairQuery)
    _require_backends(request, query.names)
    comparisons = resources_of(request).comparisons.of(query.names)
    before = None if query.cursor is None else decode_cursor(query.cursor, query.selection)
    mask = await _mask(comparisons, query.choice)

    async def read(before: int | None, limit: int) -> Page:
        return await comparisons.page(before, limit, query.start_ms, query.end_ms, mask)

    if _prefers_csv(request.headers.get("accept", "")):
        if paged := sorted(query.model_fields_set & {"limit", "cursor"}):
            raise InvalidRequest("CSV has no pages", fields=[(name, "must be omitted for CSV") for name in paged])
        stream = pairs_csv.lines(query.names, await read(None, pairs_csv.PAGE), partial(read, limit=pairs_csv.PAGE))
        return CancellableStream(stream, media_type=CSV, headers=CSV_HEADERS)
    pairs, following = await read(before, query.limit)
    cursor = None if following is None else encode_cursor(following, query.selection)
    page = Pairs([KeptPair.of(pair) for pair in pairs], cursor)
    return Response(PAIRS.dump_json(page, by_alias=True), media_type="application/json", headers={"Vary": "Accept"})


@router.get(
    "/v1/comparisons/report",
    **documents.operation(
        TAG,
        {
            200: documents.answer(
                "The report; as CSV, one figure per row, if `Accept` prefers it.",
                {"application/json": {"schema": documents.schema(Report)}, CSV: {"schema": {"type": "string"}}},
            ),
            **documents.problems(*documents.KEYED, InvalidRequest, Overloaded),
        },
        parameters=documents.query_parameters(ReportQuery),
    ),
)
async def get_comparison_report(request: Request) -> Response:
    """Agreement, speed and cost of two backends over the stored pairs, with confidence intervals."""
    resources, query = resources_of(request), read_query(request, ReportQuery)
    _require_backends(request, query.names)
    await _mask(resources.comparisons, query.choice)
    found = await resources.reports.of(
        query.start_ms, query.end_ms, query.choice, query.half_width, query.by, query.names, sectors_of(request)
    )
    if _prefers_csv(request.headers.get("accept", "")):
        return Response(table(found), media_type=CSV, headers={"Vary": "Accept"})
    return Response(REPORT.dump_json(found), media_type="application/json", headers={"Vary": "Accept"})


def _require_backends(request: Request, names: Sides) -> None:
    """Raise `Forbidden` unless the key may ask both backends, whose answers the pairs hold."""
    for name in names:
        require_backend(principal_of(request), name)


async def _mask(comparisons: Comparisons, choice: Choice) -> Mask:
    """Return the mask of a choice. Raises `InvalidRequest` if no pair can have its model or version of the prompt."""
    versions = await comparisons.versions()
    known = [version for version in versions if version]
    problem = "is in no stored pair"
    fields = [
        (f"{name.replace('-', '')}_model", problem)
        for name, model in choice.models.items()
        if model not in {version.model for version in known}
    ]
    if choice.prompt_version is not None and choice.prompt_version not in {each.prompt_version for each in known}:
        fields.append(("prompt_version", problem))
    if fields:
        raise InvalidRequest("; ".join(f"{name} {problem}" for name, problem in fields), fields=fields)
    return partial(choice.mask, versions=versions)


def _prefers_csv(accept: str) -> bool:
    weights = dict(_media_range(part) for part in accept.split(","))
    csv = weights.get(CSV, 0.0)
    json = weights.get("application/json", weights.get("application/*", 0.0))
    return csv > json


def _media_range(part: str) -> tuple[str, float]:
    """Return a media range of an Accept header and its weight."""
    kind, *parameters = (piece.strip().casefold() for piece in part.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return kind, min(1.0, max(0.0, float(weight)))
    except ValueError:
        return kind, 0.0
