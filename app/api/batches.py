"""POST /v1/recommendations/batch: many questions, a line of JSON for each as its answer comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.batch_runner import answers
from app.api.body import read_json
from app.api.disconnect import Streamed
from app.api.idempotency import refuse_key
from app.api.problems import foreseen, problem
from app.api.recommendations import validated
from app.api.request_options import request_options
from app.api.route import Routes
from app.api.server_sent_events import HEADERS
from app.api.state import resources_of
from app.api.validation_errors import refusal
from app.completions.request import RequestOptions
from app.contract.prompt import Detail
from app.deadline import Deadline
from app.errors import ConvictionError, InvalidRequest
from app.pricing.prices import plain
from app.recommend import Answered
from app.recommendation import RECOMMENDATION
from app.resources import Resources
from app.routing.cascade import strategy_for
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

MEDIA_TYPE = "application/x-ndjson"
MOST = 1000
MAX_BYTES = 4 * 1024 * 1024

router = APIRouter()


class BatchRequest(BaseModel):
    """Bodies as of /v1/recommendations; `detail` is that of items which say none."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    items: Annotated[list[Any], Field(min_length=1, max_length=MOST)]
    detail: Detail = "full"


@dataclass
class Tally:
    """What the items came to."""

    succeeded: int = 0
    failed: int = 0
    usd: Decimal = Decimal(0)


@router.post("/v1/recommendations/batch", **documents.BATCH)
async def batch(request: Request) -> Response:
    """Many questions at once; a bad item fails alone, and a client that leaves cancels what is left."""
    resources, observation = resources_of(request), RequestObservation()
    with resources.collectors.track_request(observation):
        routes, options = Routes(request, observation), request_options(request, resources.settings)
        refuse_key(request)
        order = _order(await read_json(request, MAX_BYTES))
        observation.delegated = True
    headers = {**routes.headers(), **HEADERS}
    return Streamed(_lines(order, routes, options, resources), media_type=MEDIA_TYPE, headers=headers)


async def _lines(
    order: BatchRequest, routes: Routes, options: RequestOptions, resources: Resources
) -> AsyncGenerator[bytes, None]:
    """A line an item, and one that sums up."""
    tally = Tally()

    async def ask(place: int, item: Any) -> Answered:
        try:
            with resources.collectors.track_request(observation := RequestObservation(routes.first)):
                body = validated({"detail": order.detail, **item} if isinstance(item, dict) else item)
                if body.stream:
                    raise InvalidRequest("stream must be false in a batch")
                observation.detail = body.detail
                own = replace(options, deadline=Deadline.after(options.deadline.seconds))
                question = body.question()
                route = routes.route(question, observation, place)
                strategy = strategy_for(
                    question,
                    route,
                    own,
                    resources.recommender,
                    resources.collectors,
                    RequestTimer(),
                    observation,
                    resources.shadow,
                )
                return await strategy.recommend()
        except Exception as error:
            raise foreseen(error) from error

    async with aclosing(answers(order.items, ask, resources.settings.batch_max_concurrency)) as answered:
        async for index, answer in answered:
            yield _line(index, answer, tally)
    summary = {"items": len(order.items), "succeeded": tally.succeeded, "failed": tally.failed, "usd": plain(tally.usd)}
    yield to_json({"summary": summary}) + b"\n"


def _line(index: int, answer: Answered | ConvictionError, tally: Tally) -> bytes:
    if isinstance(answer, ConvictionError):
        tally.failed += 1
        told = problem(answer).model_dump(mode="json", exclude_defaults=True)
        return to_json({"index": index, "status": answer.status, "problem": told}) + b"\n"
    tally.succeeded += 1
    tally.usd += answer.recommendation.usd
    head = b'{"index":%d,"status":200,"answer":' % index
    return head + RECOMMENDATION.dump_json(answer.recommendation) + b"}\n"


def _order(document: object) -> BatchRequest:
    try:
        return BatchRequest.model_validate(document)
    except ValidationError as error:
        raise refusal(error) from None
