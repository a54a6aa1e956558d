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
from app.contract.features import Metrics
from app.contract.prompt import PROMPT_VERSION, Detail, messages
from app.contract.recommendation import FullAnswer
from app.market.snapshots import Snapshots
from app.market.source import MetricsSource
from app.recommendation import GIVEN, Probabilities, Recommendation, RequestCost, Timing, seconds_per_token
from app.resources import Resources
from app.telemetry.metrics import BackendMeters
from app.telemetry.request_timer import RequestTimer
from app.telemetry.tracing import step


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

    def answered(self, watch: RequestTimer) -> Answered:
        """The answer that it makes, counted as one."""
        total, own = watch.read()
        observe(self, total, own)
        return Answered(_recommendation(self, total, own), self.pending.age_s, self.pending.limit_status)

    def recommendation(self, watch: RequestTimer) -> Recommendation:
        """The same where it answers nobody, and is not counted."""
        return _recommendation(self, *watch.read())


async def recommend(
    question: Question, upstream: Upstream, terms: RequestOptions, resources: Resources, watch: RequestTimer
) -> Answered:
    """Answer a question. Raises the errors of `app.errors`; what was used up is booked in any case."""
    return (await consult(question, upstream, terms, resources, watch)).answered(watch)


async def consult(
    question: Question, upstream: Upstream, terms: RequestOptions, resources: Resources, watch: RequestTimer
) -> Reply:
    """What a backend says, whatever becomes of it. Raises as `recommend` does."""
    async with (
        terms.deadline.limit(late(terms)),
        _asked(question, upstream, terms, resources, watch) as (seen, pending),
    ):
        return _replied(seen, upstream, pending, await pending.made(), watch)


async def narrate(
    question: Question, upstream: Upstream, terms: RequestOptions, resources: Resources, watch: RequestTimer
) -> AsyncGenerator[str | Answered, None]:
    """The analysis in pieces, as the model writes it, and then the answer; all at once where it is another gateway's
    or the cache's. Raises as `recommend` does."""
    deadline, told_late = terms.deadline, late(terms)
    async with AsyncExitStack() as stack:
        async with deadline.limit(told_late):
            asked = _asked(question, upstream, terms, resources, watch)
            seen, pending = await stack.enter_async_context(asked)
        if question.detail == "full":
            texts = await stack.enter_async_context(aclosing(pending.texts()))
            partial = PartialJson()
            async for text in deadline.each(texts, told_late):
                if told := partial.add(text):
                    yield told
        async with deadline.limit(told_late):
            made = await pending.made()
        yield _replied(seen, upstream, pending, made, watch).answered(watch)


@asynccontextmanager
async def _asked(
    question: Question, upstream: Upstream, terms: RequestOptions, resources: Resources, watch: RequestTimer
) -> AsyncIterator[tuple[Question, PendingCompletion]]:
    """The question with its metrics, and the model's answer to it, on its way."""
    with upstream.meters.in_flight.track_inprogress():
        seen = await looked_up(question, resources.market, watch)
        assert seen.metrics is not None
        prompt = messages(seen.metrics, seen.ticker, seen.detail)
        async with resources.completions.ask(CompletionRequest(upstream, prompt, seen.detail, terms)) as pending:
            yield seen, pending


def late(terms: RequestOptions) -> str:
    """What is said where the deadline has passed."""
    return f"no answer within {terms.deadline.seconds:g} s"


async def looked_up(question: Question, market: Snapshots, watch: RequestTimer) -> Question:
    """The question with the ticker's metrics where none were given, and where they come from."""
    if question.metrics is not None:
        return question
    assert question.ticker is not None
    with watch.waiting(), step("market", {}):
        found = await market.of(question.ticker, question.as_of)
    return replace(question, metrics=found.metrics, source=found.source)


def _replied(
    question: Question, upstream: Upstream, pending: PendingCompletion, made: CompletedCall, watch: RequestTimer
) -> Reply:
    watch.waited(made.waited_s)
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
