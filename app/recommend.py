"""The flow of one request: features -> prompt -> a model's completion, cached or new -> recommendation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from app.accounting.limit_status import LimitStatus
from app.backends.upstream import Upstream
from app.completions.partial_answer import PartialAnswer
from app.completions.request import CompletedCall, CompletionRequest, PendingCompletion, RequestOptions
from app.completions.service import CompletionService
from app.contract.analysis import read_analysis
from app.contract.features import Metrics
from app.contract.prompt import PROMPT_VERSION, Detail, messages
from app.contract.recommendation import BriefAnswer, FullAnswer
from app.market.snapshots import SnapshotCache
from app.market.source import MetricsSource
from app.recommendation import Probabilities, Recommendation, RequestCost, Timing, seconds_per_token
from app.telemetry.backend_meters import BackendMeters
from app.telemetry.request_timer import RequestTimer
from app.telemetry.tracing import step_span


@dataclass(frozen=True)
class Question:
    """What a client asks about: metrics, or the ticker's metrics at its last close on or before `as_of`.

    `source` describes the market data of metrics that the gateway looked up.
    """

    ticker: str | None
    as_of: date | None
    metrics: Metrics | None
    detail: Detail
    source: MetricsSource | None = None
    blind: bool = False
    """Whether the prompt omits the ticker."""
    counted: bool = False
    """Whether a look-up of the metrics was counted against request limits, in place of the next admission."""


@dataclass(frozen=True)
class Answer:
    """One backend's recommendation, and what the response headers state beside it."""

    recommendation: Recommendation
    age_s: float | None
    """Seconds since a cached answer was computed."""
    limit_status: LimitStatus | None


Part = BriefAnswer | str | Answer
"""A part of a streamed answer: the decision, a piece of the analysis, or the whole answer, which is the last."""


class Recommender:
    """Answers a question with one backend. Its methods raise the errors of `app.errors`; a failed call is charged for
    the tokens it used."""

    def __init__(self, market: SnapshotCache, completions: CompletionService) -> None:
        self._market, self._completions = market, completions

    async def ask(self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer) -> Answer:
        """Return the backend's answer. It is not counted in the metrics yet: see `count_answer`."""
        async with (
            options.deadline.limit(_timeout_detail(options)),
            self._start(question, upstream, options, timer) as (complete, pending),
        ):
            return _answer(complete, upstream, pending, await pending.result(), timer)

    async def stream(
        self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer
    ) -> AsyncGenerator[Part, None]:
        """Yield the decision and the analysis in pieces while the model writes them, then the answer.

        A completion from the cache or from another gateway is one piece.
        """
        deadline, detail = options.deadline, _timeout_detail(options)
        async with AsyncExitStack() as stack:
            async with deadline.limit(detail):
                started = self._start(question, upstream, options, timer)
                complete, pending = await stack.enter_async_context(started)
            if question.detail == "full":
                texts = await stack.enter_async_context(aclosing(pending.texts()))
                partial = PartialAnswer()
                async for text in deadline.each(texts, detail):
                    for part in partial.add(text):
                        yield part
            async with deadline.limit(detail):
                call = await pending.result()
            yield _answer(complete, upstream, pending, call, timer)

    async def with_metrics(
        self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer
    ) -> Question:
        """Return the question with the ticker's metrics and their source where it has none.

        A fetch is counted against the request limits of the principal and the backend. Raises `RateLimited`.
        """
        if question.metrics is not None:
            return question
        assert question.ticker is not None
        counted = False
        with timer.waiting(), step_span("market", {}):
            if self._market.needs_fetch(question.ticker, question.as_of):
                counted = await self._completions.count_request(options, upstream)
            found = await self._market.get(question.ticker, question.as_of, options.principal.id)
        return replace(question, metrics=found.metrics, source=found.source, counted=counted)

    @asynccontextmanager
    async def _start(
        self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer
    ) -> AsyncIterator[tuple[Question, PendingCompletion]]:
        with upstream.meters.in_flight.track_inprogress():
            complete = await self.with_metrics(question, upstream, options, timer)
            assert complete.metrics is not None
            prompt = messages(complete.metrics, None if complete.blind else complete.ticker, complete.detail)
            if complete.counted:
                options = replace(options, counted=True)
            request = CompletionRequest(upstream, prompt, complete.detail, options)
            async with self._completions.complete(request) as pending:
                yield complete, pending


def count_answer(meters: BackendMeters, recommendation: Recommendation, detail: Detail) -> None:
    """Count an answer that a client receives; its latency only if the call was made for this request."""
    meters.recommended[recommendation.action].inc()
    meters.level[recommendation.action].observe(recommendation.conviction)
    if recommendation.source == "model":
        meters.duration[detail].observe(recommendation.timing.total_ms / 1000)
        meters.overhead.observe(recommendation.timing.gateway_ms / 1000)


def _timeout_detail(options: RequestOptions) -> str:
    return f"no answer within {options.deadline.seconds:g} s"


def _answer(
    question: Question, upstream: Upstream, pending: PendingCompletion, call: CompletedCall, timer: RequestTimer
) -> Answer:
    timer.add_waiting(call.waited_s)
    own_completion = call.completion if pending.source == "model" else None
    if own_completion is not None:
        if own_completion.time_to_first_token is not None:
            upstream.meters.first_token[question.detail].observe(own_completion.time_to_first_token)
        if (per_token := seconds_per_token(own_completion)) is not None:
            upstream.meters.per_token[question.detail].observe(per_token)
    metrics, answer, completion = question.metrics, call.answer, call.completion
    assert metrics is not None
    analysis = answer.analysis if isinstance(answer, FullAnswer) else None
    probabilities, calibration = completion.probabilities, upstream.calibration(completion, question.detail)
    if probabilities and calibration:
        probabilities = calibration.apply(probabilities)
    recommendation = Recommendation(
        id=f"rec_{pending.request_id}",
        created_at=datetime.now(UTC),
        ticker=question.ticker.upper() if question.ticker else None,
        blind=question.blind,
        as_of=metrics.as_of,
        action=answer.action,
        conviction=answer.conviction,
        probabilities=Probabilities.of(probabilities),
        probabilities_calibrated=bool(probabilities and calibration),
        probabilities_given="metrics" if probabilities else None,
        probabilities_bound=Probabilities.bound_of(probabilities),
        analysis=analysis,
        evidence=[] if analysis is None else read_analysis(analysis),
        backend=upstream.name,
        model=completion.model,
        prompt_version=PROMPT_VERSION,
        source=pending.source,
        usage=call.usage,
        timing=Timing.of(own_completion, *timer.read(), call.attempts, call.queued_s),
        cost=RequestCost.of(call.cost),
        metrics=metrics,
        metrics_source=question.source,
        missing=metrics.missing(),
        experiment=None,
        fallback_from=None,
        cascade=None,
        stand_in=completion.stand_in,
        weights=upstream.profile.weights if upstream.profile else None,
    )
    return Answer(recommendation, pending.age_s, pending.limit_status)
