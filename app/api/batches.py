"""POST /v1/recommendations/batch: many questions, answered with one line of JSON each, in the order of completion."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from app.api import answer_fields, documents
from app.api.answer_fields import requested_fields
from app.api.batch_runner import run_batch
from app.api.batch_schemas import BatchAnswer, BatchItem, BatchProblem, BatchRequest, BatchSummary, custom_ids
from app.api.body import read_json
from app.api.disconnect import CancellableStream
from app.api.idempotency import refuse_key
from app.api.problems import problem
from app.api.request_options import request_options
from app.api.route import RequestRouter
from app.api.server_sent_events import HEADERS
from app.api.state import authenticate, resources_of
from app.api.validation_errors import validate
from app.completions.request import RequestOptions
from app.deadline import Deadline
from app.errors import BackendUnavailable, ConvictionError, InvalidRequest, UnknownBackend, client_error
from app.pricing.prices import plain
from app.recommend import Answer
from app.routing.headers import HEADER
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

MEDIA_TYPE = "application/x-ndjson"
MAX_BYTES = 4 * 1024 * 1024
LINE = {"oneOf": [documents.schema(line) for line in (BatchAnswer, BatchProblem, BatchSummary)]}

router = APIRouter()


@dataclass
class Lines:
    """The lines of one answer, and the totals of those written so far."""

    ids: Sequence[str | None]
    fields: Set[str] | None
    succeeded: int = 0
    failed: int = 0
    usd: Decimal = Decimal(0)

    def line(self, index: int, result: Answer | ConvictionError) -> bytes:
        """Return an item's line."""
        if isinstance(result, ConvictionError):
            self.failed += 1
            document = problem(result).model_dump_json(exclude_defaults=True).encode()
            return self._head(index, result.status) + b',"problem":' + document + b"}\n"
        self.succeeded += 1
        self.usd += result.recommendation.usd
        document = answer_fields.to_json(result.recommendation, self.fields)
        return self._head(index, 200) + b',"answer":' + document + b"}\n"

    def summary(self) -> bytes:
        """Return the last line."""
        counts = {"items": len(self.ids), "succeeded": self.succeeded, "failed": self.failed}
        return to_json({"summary": {**counts, "usd": plain(self.usd)}}) + b"\n"

    def _head(self, index: int, status: int) -> bytes:
        given = {} if self.ids[index] is None else {"custom_id": self.ids[index]}
        return to_json({"index": index, **given, "status": status})[:-1]


@router.post(
    "/v1/recommendations/batch",
    **documents.operation(
        "recommendations",
        {
            200: documents.answer(
                "One line of JSON per item, in the order of completion: its `index`, `custom_id` if it has one, "
                "`status`, and `answer` or `problem`; the last line is a summary.",
                {MEDIA_TYPE: {"schema": documents.lines(LINE)}},
                **{
                    HEADER: documents.header(
                        "the backend that answered; absent from a batch where experiments decide for each item"
                    )
                },
            ),
            **documents.problems(UnknownBackend, *documents.KEYED, *documents.BODY, BackendUnavailable),
        },
        parameters=[
            *(documents.BACKEND, documents.FALLBACK_BACKEND, documents.FOR_SUBJECT),
            *(documents.TIMEOUT, documents.CACHE_CONTROL, answer_fields.PARAMETER),
        ],
        requestBody=documents.request_body(BatchRequest),
    ),
)
async def recommend_batch(request: Request) -> Response:
    """Many questions in one request; an invalid item fails alone, and a disconnect cancels the remaining items."""
    resources, observation = resources_of(request), RequestObservation()
    with resources.collectors.track_request(observation):
        routing, options = RequestRouter(request, observation), request_options(request, resources.settings)
        refuse_key(request)
        fields = requested_fields(request)
        body = validate(BatchRequest, await read_json(request, MAX_BYTES, options.deadline))
        lines = Lines(custom_ids(body.items), fields)
        observation.delegated = True
    headers = {**routing.headers(), **HEADERS}
    return CancellableStream(_answers(body, lines, request, routing, options), media_type=MEDIA_TYPE, headers=headers)


async def _answers(
    body: BatchRequest, lines: Lines, request: Request, routing: RequestRouter, options: RequestOptions
) -> AsyncGenerator[bytes, None]:
    """Yield a line per item, and the summary. Each item needs a key that is valid when it starts."""
    resources = resources_of(request)

    async def ask(index: int, item: Any) -> Answer:
        try:
            with resources.collectors.track_request(observation := RequestObservation(routing.first)):
                principal = await authenticate(request)
                with_detail = {"detail": body.detail, **item} if isinstance(item, dict) else item
                item_body = validate(BatchItem, with_detail)
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

    limit = resources.settings.batch_max_concurrency
    async with aclosing(run_batch(body.items, ask, min(limit, body.concurrency or limit))) as results:
        async for index, result in results:
            yield lines.line(index, result)
    yield lines.summary()
