"""POST /v1/recommendations/batch: many questions, answered with one line of JSON each, in the order of completion."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.batch_runner import run_batch
from app.api.body import read_json
from app.api.disconnect import CancellableStream
from app.api.idempotency import refuse_key
from app.api.problems import problem
from app.api.request_options import request_options
from app.api.route import RequestRouter
from app.api.schemas import RecommendationRequest
from app.api.server_sent_events import HEADERS
from app.api.state import authenticate, resources_of
from app.api.validation_errors import validate
from app.completions.request import RequestOptions
from app.contract.prompt import Detail
from app.deadline import Deadline
from app.errors import ConvictionError, InvalidRequest, UnknownBackend, client_error
from app.pricing.prices import plain
from app.recommend import Answer
from app.recommendation import RECOMMENDATION
from app.routing.headers import HEADER
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

MEDIA_TYPE = "application/x-ndjson"
MAX_ITEMS = 1000
MAX_BYTES = 4 * 1024 * 1024

router = APIRouter()


class BatchRequest(BaseModel):
    """Bodies of /v1/recommendations; `detail` is the default for items without one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    items: Annotated[list[Any], Field(min_length=1, max_length=MAX_ITEMS)]
    detail: Detail = "full"


@dataclass
class Summary:
    """The number of answered and failed items, and their cost."""

    succeeded: int = 0
    failed: int = 0
    usd: Decimal = Decimal(0)


@router.post(
    "/v1/recommendations/batch",
    **documents.operation(
        "recommendations",
        {
            200: documents.answer(
                "One line of JSON per item, in the order of completion: its `index`, `status`, and `answer` or "
                "`problem`; the last line is a summary.",
                {MEDIA_TYPE: {"schema": {"type": "string"}}},
                **{HEADER: documents.header("the backend of the items; absent where experiments decide for each")},
            ),
            **documents.problems(UnknownBackend, *documents.KEYED, *documents.BODY),
        },
        parameters=[
            *(documents.BACKEND, documents.FALLBACK_BACKEND, documents.FOR_SUBJECT),
            *(documents.TIMEOUT, documents.CACHE_CONTROL),
        ],
        requestBody=documents.request_body(BatchRequest),
    ),
)
async def batch(request: Request) -> Response:
    """Many questions in one request; an invalid item fails alone, and a disconnect cancels the remaining items."""
    resources, observation = resources_of(request), RequestObservation()
    with resources.collectors.track_request(observation):
        routing, options = RequestRouter(request, observation), request_options(request, resources.settings)
        refuse_key(request)
        body = validate(BatchRequest, await read_json(request, MAX_BYTES, options.deadline))
        observation.delegated = True
    headers = {**routing.headers(), **HEADERS}
    return CancellableStream(_lines(body, request, routing, options), media_type=MEDIA_TYPE, headers=headers)


async def _lines(
    body: BatchRequest, request: Request, routing: RequestRouter, options: RequestOptions
) -> AsyncGenerator[bytes, None]:
    """Yield a line per item, and the summary. Each item needs a key that is valid when it starts."""
    summary, resources = Summary(), resources_of(request)

    async def ask(index: int, item: Any) -> Answer:
        try:
            with resources.collectors.track_request(observation := RequestObservation(routing.first)):
                principal = await authenticate(request)
                with_detail = {"detail": body.detail, **item} if isinstance(item, dict) else item
                item_body = validate(RecommendationRequest, with_detail)
                if item_body.stream:
                    raise InvalidRequest("stream must be false in a batch")
                observation.detail = item_body.detail
                own = replace(options, principal=principal, deadline=Deadline.after(options.deadline.seconds))
                strategy = routing.strategy(item_body.question(), own, RequestTimer(), observation, index)
                resources.decisions.require()
                answer = await strategy.recommend()
                await resources.decisions.record(answer.recommendation, principal)
                return answer
        except Exception as error:
            raise client_error(error) from error

    async with aclosing(run_batch(body.items, ask, resources.settings.batch_max_concurrency)) as results:
        async for index, result in results:
            yield _line(index, result, summary)
    counts = {"items": len(body.items), "succeeded": summary.succeeded, "failed": summary.failed}
    yield to_json({"summary": {**counts, "usd": plain(summary.usd)}}) + b"\n"


def _line(index: int, result: Answer | ConvictionError, summary: Summary) -> bytes:
    if isinstance(result, ConvictionError):
        summary.failed += 1
        document = problem(result).model_dump(mode="json", exclude_defaults=True)
        return to_json({"index": index, "status": result.status, "problem": document}) + b"\n"
    summary.succeeded += 1
    summary.usd += result.recommendation.usd
    head = b'{"index":%d,"status":200,"answer":' % index
    return head + RECOMMENDATION.dump_json(result.recommendation) + b"}\n"
