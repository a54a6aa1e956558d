"""The flow of one request: features -> prompt -> a model's answer, found or made -> recommendation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from app.recommendation import GIVEN, Paid, Probabilities, Recommendation, Timing, seconds_per_token
from app.completions.request import Asking, Inquiry, Made, Terms
from app.contract.features import Metrics
from app.contract.prompt import PROMPT_VERSION, Detail, messages
from app.contract.recommendation import FullAnswer
from app.backends.upstream import Lane
from app.market.snapshots import Snapshots
from app.market.source import MetricsSource
from app.telemetry.metrics import BackendMeters
from app.completions.partial_json import Narration
from app.resources import Resources
from app.telemetry.request_timer import Stopwatch
from app.accounting.limit_status import Standing
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
    standing: Standing | None


@dataclass(frozen=True)
class Reply:
    """What a backend said to a question."""

    question: Question
    """With its metrics."""
    lane: Lane
    asking: Asking
    made: Made

    @property
    def metrics(self) -> Metrics:
        assert self.question.metrics is not None
        return self.question.metrics

    def answered(self, watch: Stopwatch) -> Answered:
        """The answer that it makes, counted as one."""
        total, own = watch.read()
        observe(self, total, own)
        return Answered(_recommendation(self, total, own), self.asking.age_s, self.asking.standing)

    def recommendation(self, watch: Stopwatch) -> Recommendation:
        """The same where it answers nobody, and is not counted."""
        return _recommendation(self, *watch.read())


async def recommend(question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch) -> Answered:
    """Answer a question. Raises the errors of `app.errors`; what was used up is booked in any case."""
    return (await consult(question, lane, terms, resources, watch)).answered(watch)


async def consult(question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch) -> Reply:
    """What a backend says, whatever becomes of it. Raises as `recommend` does."""
    async with terms.deadline.limit(late(terms)), _asked(question, lane, terms, resources, watch) as (seen, asking):
        return _replied(seen, lane, asking, await asking.made(), watch)


async def narrate(
    question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch
) -> AsyncGenerator[str | Answered, None]:
    """The analysis in pieces, as the model writes it, and then the answer; all at once where it is another gateway's
    or the cache's. Raises as `recommend` does."""
    deadline, told_late = terms.deadline, late(terms)
    async with AsyncExitStack() as stack:
        async with deadline.limit(told_late):
            asked = _asked(question, lane, terms, resources, watch)
            seen, asking = await stack.enter_async_context(asked)
        if question.detail == "full":
            texts = await stack.enter_async_context(aclosing(asking.texts()))
            narration = Narration()
            async for text in deadline.each(texts, told_late):
                if told := narration.add(text):
                    yield told
        async with deadline.limit(told_late):
            made = await asking.made()
        yield _replied(seen, lane, asking, made, watch).answered(watch)


@asynccontextmanager
async def _asked(
    question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch
) -> AsyncIterator[tuple[Question, Asking]]:
    """The question with its metrics, and the model's answer to it, on its way."""
    with lane.meters.in_flight.track_inprogress():
        seen = await looked_up(question, resources.market, watch)
        assert seen.metrics is not None
        prompt = messages(seen.metrics, seen.ticker, seen.detail)
        async with resources.broker.ask(Inquiry(lane, prompt, seen.detail, terms)) as asking:
            yield seen, asking


def late(terms: Terms) -> str:
    """What is said where the deadline has passed."""
    return f"no answer within {terms.deadline.seconds:g} s"


async def looked_up(question: Question, market: Snapshots, watch: Stopwatch) -> Question:
    """The question with the ticker's metrics where none were given, and where they come from."""
    if question.metrics is not None:
        return question
    assert question.ticker is not None
    with watch.waiting(), step("market", {}):
        found = await market.of(question.ticker, question.as_of)
    return replace(question, metrics=found.metrics, source=found.source)


def _replied(question: Question, lane: Lane, asking: Asking, made: Made, watch: Stopwatch) -> Reply:
    watch.waited(made.waited_s)
    if asking.source == "model":
        observe_call(lane.meters, made)
    return Reply(question, lane, asking, made)


def _recommendation(reply: Reply, total_s: float, own_s: float) -> Recommendation:
    question, asking, made = reply.question, reply.asking, reply.made
    metrics, answer, completion = reply.metrics, made.answer, made.completion
    return Recommendation(
        id=f"rec_{asking.request_id}",
        created_at=datetime.now(UTC),
        ticker=question.ticker.upper() if question.ticker else None,
        as_of=metrics.as_of,
        action=answer.action,
        conviction=answer.conviction,
        probabilities=Probabilities.of(completion),
        probabilities_given=GIVEN[question.detail] if completion.probabilities else None,
        analysis=answer.analysis if isinstance(answer, FullAnswer) else None,
        backend=reply.lane.name,
        model=completion.model,
        prompt_version=PROMPT_VERSION,
        source=asking.source,
        usage=made.usage,
        timing=Timing.of(completion if asking.source == "model" else None, total_s, own_s),
        cost=Paid.of(made.cost),
        metrics=metrics,
        metrics_source=question.source,
        missing=metrics.missing(),
        experiment=None,
        fallback_from=None,
        cascade=None,
        stand_in=completion.stand_in,
        weights=reply.lane.profile.weights if reply.lane.profile else None,
    )


def observe(reply: Reply, total_s: float, own_s: float) -> None:
    """What an answer adds to the collectors; one that was not made for its request, nothing to those of speed."""
    meters, answer = reply.lane.meters, reply.made.answer
    meters.recommended[answer.action].inc()
    meters.level[answer.action].observe(answer.conviction)
    if reply.asking.source == "model":
        meters.duration.observe(total_s)
        meters.overhead.observe(own_s)


def observe_call(meters: BackendMeters, made: Made) -> None:
    """What a call adds to the histograms of speed."""
    if made.completion.time_to_first_token is not None:
        meters.first_token.observe(made.completion.time_to_first_token)
    per_token = seconds_per_token(made.completion)
    if per_token is not None:
        meters.per_token.observe(per_token)
