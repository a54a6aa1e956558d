"""The flow of one request: features -> prompt -> a model's answer, found or made -> recommendation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from app.answer import GIVEN, Paid, Probabilities, Recommendation, Timing, seconds_per_token
from app.asking import Asking, Inquiry, Made, Terms
from app.contract.features import Metrics
from app.contract.prompt import PROMPT_VERSION, Detail, messages
from app.contract.recommendation import FullAnswer
from app.lane import Lane
from app.market.snapshot import MetricsSource
from app.market.snapshots import Snapshots
from app.metrics import BackendMeters
from app.narration import Narration
from app.resources import Resources
from app.stopwatch import Stopwatch
from app.stores.standing import Standing


@dataclass(frozen=True)
class Question:
    """What a client wants to know. Without metrics, those of the ticker at its last close by `as_of`."""

    ticker: str | None
    as_of: date | None
    metrics: Metrics | None
    detail: Detail


@dataclass(frozen=True)
class Answered:
    """The answer, and what its headers say beside it."""

    recommendation: Recommendation
    age_s: float | None
    standing: Standing | None


async def recommend(question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch) -> Answered:
    """Answer a question. Raises the errors of `app.errors`; what was used up is booked in any case."""
    limit = terms.deadline.limit(_late(terms))
    async with limit, _asked(question, lane, terms, resources, watch) as (metrics, source, asking):
        made = await asking.made()
        return _answered(question, lane, metrics, source, asking, made, watch)


async def narrate(
    question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch
) -> AsyncGenerator[str | Answered, None]:
    """The analysis in pieces, as the model writes it, and then the answer; all at once where it is another gateway's
    or the cache's. Raises as `recommend` does."""
    deadline, late = terms.deadline, _late(terms)
    async with AsyncExitStack() as stack:
        async with deadline.limit(late):
            asked = _asked(question, lane, terms, resources, watch)
            metrics, source, asking = await stack.enter_async_context(asked)
        if question.detail == "full":
            texts = await stack.enter_async_context(aclosing(asking.texts()))
            narration = Narration()
            async for text in deadline.each(texts, late):
                if told := narration.add(text):
                    yield told
        async with deadline.limit(late):
            made = await asking.made()
        yield _answered(question, lane, metrics, source, asking, made, watch)


@asynccontextmanager
async def _asked(
    question: Question, lane: Lane, terms: Terms, resources: Resources, watch: Stopwatch
) -> AsyncIterator[tuple[Metrics, MetricsSource | None, Asking]]:
    """The metrics and the model's answer to them, on its way."""
    with lane.meters.in_flight.track_inprogress():
        metrics, source = await features(question, resources.market, watch)
        prompt = messages(metrics, question.ticker, question.detail)
        async with resources.broker.ask(Inquiry(lane, prompt, question.detail, terms)) as asking:
            yield metrics, source, asking


def _late(terms: Terms) -> str:
    return f"no answer within {terms.deadline.seconds:g} s"


async def features(question: Question, market: Snapshots, watch: Stopwatch) -> tuple[Metrics, MetricsSource | None]:
    """The metrics given, or else the ticker's and where they come from."""
    if question.metrics is not None:
        return question.metrics, None
    assert question.ticker is not None
    with watch.waiting():
        found = await market.of(question.ticker, question.as_of)
    return found.metrics, found.source


def _answered(
    question: Question,
    lane: Lane,
    metrics: Metrics,
    source: MetricsSource | None,
    asking: Asking,
    made: Made,
    watch: Stopwatch,
) -> Answered:
    answer, completion = made.answer, made.completion
    watch.waited(made.waited_s)
    total, own = watch.read()
    observe(lane.meters, asking, made, total, own)
    recommendation = Recommendation(
        id=f"rec_{asking.request_id}",
        created_at=datetime.now(UTC),
        ticker=question.ticker.upper() if question.ticker else None,
        as_of=metrics.as_of,
        action=answer.action,
        conviction=answer.conviction,
        probabilities=Probabilities.of(completion),
        probabilities_given=GIVEN[question.detail] if completion.probabilities else None,
        analysis=answer.analysis if isinstance(answer, FullAnswer) else None,
        backend=lane.name,
        model=completion.model,
        prompt_version=PROMPT_VERSION,
        source=asking.source,
        usage=made.usage,
        timing=Timing.of(completion if asking.source == "model" else None, total, own),
        cost=Paid.of(made.cost),
        metrics=metrics,
        metrics_source=source,
        missing=metrics.missing(),
        experiment=None,
        fallback_from=None,
        stand_in=completion.stand_in,
    )
    return Answered(recommendation, asking.age_s, asking.standing)


def observe(meters: BackendMeters, asking: Asking, made: Made, total_s: float, own_s: float) -> None:
    """What an answer adds to the histograms and counters; one that was not made for it, nothing to those of speed."""
    action = made.answer.action
    meters.recommended[action].inc()
    meters.level[action].observe(made.answer.conviction)
    if asking.source != "model":
        return
    meters.duration.observe(total_s)
    meters.overhead.observe(own_s)
    if made.completion.time_to_first_token is not None:
        meters.first_token.observe(made.completion.time_to_first_token)
    per_token = seconds_per_token(made.completion)
    if per_token is not None:
        meters.per_token.observe(per_token)
