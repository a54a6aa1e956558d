"""The flow of one request: features -> prompt -> a model's answer, found or made -> recommendation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from app.accounting.limit_status import LimitStatus
from app.backends.upstream import Upstream
from app.completions.partial_json import PartialJson
from app.completions.request import CompletedCall, CompletionRequest, PendingCompletion, RequestOptions
from app.completions.service import CompletionService
from app.contract.features import Metrics
from app.contract.prompt import PROMPT_VERSION, Detail, messages
from app.contract.recommendation import FullAnswer
from app.market.snapshots import SnapshotCache
from app.market.source import MetricsSource
from app.recommendation import GIVEN, Probabilities, Recommendation, RequestCost, Timing, seconds_per_token
from app.telemetry.metrics import BackendMeters
from app.telemetry.request_timer import RequestTimer
from app.telemetry.tracing import step_span


@dataclass(frozen=True)
class Question:
    """What a client wants to know. Without metrics, those of the ticker at its last close by `as_of`.

    `source` says where metrics were looked up that the client did not give.
    """

    ticker: str | None
    as_of: date | None
    metrics: Metrics | None
    detail: Detail
    source: MetricsSource | None = None


@dataclass(frozen=True)
class Answered:
    """The answer, and what its headers say beside it."""

    recommendation: Recommendation
    age_s: float | None
    limit_status: LimitStatus | None


@dataclass(frozen=True)
class Reply:
    """What a backend said to a question."""

    question: Question
    """With its metrics."""
    upstream: Upstream
    pending: PendingCompletion
    made: CompletedCall

    @property
    def metrics(self) -> Metrics:
        assert self.question.metrics is not None
        return self.question.metrics

    def answered(self, timer: RequestTimer) -> Answered:
        """Return the recommendation that this reply makes, and count it."""
        total, own = timer.read()
        observe(self, total, own)
        return Answered(_recommendation(self, total, own), self.pending.age_s, self.pending.limit_status)

    def recommendation(self, timer: RequestTimer) -> Recommendation:
        """Return the recommendation without counting it, for a reply that no client gets."""
        return _recommendation(self, *timer.read())


class Recommender:
    """Answers a question with one backend. Every method raises the errors of `app.errors`; what a call used is booked
    in any case."""

    def __init__(self, market: SnapshotCache, completions: CompletionService) -> None:
        self._market, self._completions = market, completions

    async def ask(self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer) -> Reply:
        """Return the backend's reply once it is whole."""
        async with (
            options.deadline.limit(_late(options)),
            self._started(question, upstream, options, timer) as (complete, pending),
        ):
            return _replied(complete, upstream, pending, await pending.made(), timer)

    async def stream(
        self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer
    ) -> AsyncGenerator[str | Reply, None]:
        """Yield the analysis in pieces as the model writes it, then the reply.

        A completion from the cache or from another gateway comes in one piece.
        """
        deadline, late = options.deadline, _late(options)
        async with AsyncExitStack() as stack:
            async with deadline.limit(late):
                started = self._started(question, upstream, options, timer)
                complete, pending = await stack.enter_async_context(started)
            if question.detail == "full":
                texts = await stack.enter_async_context(aclosing(pending.texts()))
                analysis = PartialJson()
                async for text in deadline.each(texts, late):
                    if piece := analysis.add(text):
                        yield piece
            async with deadline.limit(late):
                made = await pending.made()
            yield _replied(complete, upstream, pending, made, timer)

    async def with_metrics(self, question: Question, timer: RequestTimer) -> Question:
        """Return the question with the ticker's metrics and their source, where it has no metrics."""
        if question.metrics is not None:
            return question
        assert question.ticker is not None
        with timer.waiting(), step_span("market", {}):
            found = await self._market.get(question.ticker, question.as_of)
        return replace(question, metrics=found.metrics, source=found.source)

    @asynccontextmanager
    async def _started(
        self, question: Question, upstream: Upstream, options: RequestOptions, timer: RequestTimer
    ) -> AsyncIterator[tuple[Question, PendingCompletion]]:
        with upstream.meters.in_flight.track_inprogress():
            complete = await self.with_metrics(question, timer)
            assert complete.metrics is not None
            prompt = messages(complete.metrics, complete.ticker, complete.detail)
            request = CompletionRequest(upstream, prompt, complete.detail, options)
            async with self._completions.ask(request) as pending:
                yield complete, pending


def _late(options: RequestOptions) -> str:
    return f"no answer within {options.deadline.seconds:g} s"


def _replied(
    question: Question, upstream: Upstream, pending: PendingCompletion, made: CompletedCall, timer: RequestTimer
) -> Reply:
    timer.add_waiting(made.waited_s)
    if pending.source == "model":
        observe_call(upstream.meters, made)
    return Reply(question, upstream, pending, made)


def _recommendation(reply: Reply, total_s: float, own_s: float) -> Recommendation:
    question, pending, made = reply.question, reply.pending, reply.made
    metrics, answer, completion = reply.metrics, made.answer, made.completion
    return Recommendation(
        id=f"rec_{pending.request_id}",
        created_at=datetime.now(UTC),
        ticker=question.ticker.upper() if question.ticker else None,
        as_of=metrics.as_of,
        action=answer.action,
        conviction=answer.conviction,
        probabilities=Probabilities.of(completion),
        probabilities_given=GIVEN[question.detail] if completion.probabilities else None,
        analysis=answer.analysis if isinstance(answer, FullAnswer) else None,
        backend=reply.upstream.name,
        model=completion.model,
        prompt_version=PROMPT_VERSION,
        source=pending.source,
        usage=made.usage,
        timing=Timing.of(completion if pending.source == "model" else None, total_s, own_s),
        cost=RequestCost.of(made.cost),
        metrics=metrics,
        metrics_source=question.source,
        missing=metrics.missing(),
        experiment=None,
        fallback_from=None,
        cascade=None,
        stand_in=completion.stand_in,
        weights=reply.upstream.profile.weights if reply.upstream.profile else None,
    )


def observe(reply: Reply, total_s: float, own_s: float) -> None:
    """What an answer adds to the collectors; one that was not made for its request, nothing to those of speed."""
    meters, answer = reply.upstream.meters, reply.made.answer
    meters.recommended[answer.action].inc()
    meters.level[answer.action].observe(answer.conviction)
    if reply.pending.source == "model":
        meters.duration.observe(total_s)
        meters.overhead.observe(own_s)


def observe_call(meters: BackendMeters, made: CompletedCall) -> None:
    """What a call adds to the histograms of speed."""
    if made.completion.time_to_first_token is not None:
        meters.first_token.observe(made.completion.time_to_first_token)
    per_token = seconds_per_token(made.completion)
    if per_token is not None:
        meters.per_token.observe(per_token)
