"""The flow of one request: features -> prompt -> backend -> parse -> record -> answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import uuid4

from app.answer import GIVEN, Paid, Probabilities, Recommendation, Timing, seconds_per_token
from app.attempts import Attempts
from app.backends.base import NOTHING, Backend, BackendName, Completion, Usage
from app.contract.features import Metrics
from app.contract.prompt import PROMPT_VERSION, Detail, messages
from app.contract.recommendation import Answer, FullAnswer
from app.costs import Cost
from app.deadline import Deadline
from app.errors import BackendError, StoreUnavailable
from app.market.snapshot import MetricsSource
from app.market.snapshots import Snapshots
from app.metrics import BackendMeters
from app.resources import Resources
from app.stopwatch import Stopwatch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What a client wants to know. Without metrics, those of the ticker at its last close by `as_of`."""

    ticker: str | None
    as_of: date | None
    metrics: Metrics | None
    detail: Detail


async def recommend(question: Question, backend: Backend, resources: Resources, watch: Stopwatch) -> Recommendation:
    """Answer a question. Raises the errors of `app.errors`; what was used up is recorded in any case."""
    meters = resources.collectors.of[backend.name]
    with meters.in_flight.track_inprogress():
        metrics, source = await features(question, resources.market, watch)
        attempts = Attempts(backend, meters, Deadline.after(resources.settings.backend_timeout_s))
        try:
            answer, completion = await attempts.answer(
                messages(metrics, question.ticker, question.detail), question.detail, watch
            )
        except BackendError:
            if attempts.usage != NOTHING:
                await record(backend.name, attempts.usage, resources)
            raise
        cost = await record(backend.name, attempts.usage, resources)
        total, own = watch.read()
        observe(meters, answer, completion, total, own)
    now = datetime.now(UTC)
    return Recommendation(
        id=f"rec_{uuid4().hex}",
        created_at=now,
        ticker=question.ticker.upper() if question.ticker else None,
        as_of=metrics.as_of,
        action=answer.action,
        conviction=answer.conviction,
        probabilities=Probabilities.of(completion),
        probabilities_given=GIVEN[question.detail] if completion.probabilities else None,
        analysis=answer.analysis if isinstance(answer, FullAnswer) else None,
        backend=backend.name,
        model=completion.model,
        prompt_version=PROMPT_VERSION,
        source="model",
        usage=attempts.usage,
        timing=Timing.of(completion, total, own),
        cost=Paid.of(cost),
        metrics=metrics,
        metrics_source=source,
        missing=metrics.missing(),
        experiment=None,
        fallback_from=None,
        stand_in=completion.stand_in,
    )


async def features(question: Question, market: Snapshots, watch: Stopwatch) -> tuple[Metrics, MetricsSource | None]:
    """The metrics given, or else the ticker's and where they come from."""
    if question.metrics is not None:
        return question.metrics, None
    assert question.ticker is not None
    with watch.waiting():
        found = await market.of(question.ticker, question.as_of)
    return found.metrics, found.source


async def record(backend: BackendName, usage: Usage, resources: Resources) -> Cost:
    """Count tokens and cost, and book them; a store that is away is logged and counted, no more."""
    cost = resources.prices[backend].cost(usage)
    collectors = resources.collectors
    collectors.of[backend].spend(usage, cost)
    try:
        await resources.ledger.add(backend, usage, cost.nano_usd, datetime.now(UTC))
    except StoreUnavailable as error:
        collectors.store_errors.labels("ledger").inc()
        log.warning("%d nano-dollars of %s are in no ledger: %s", cost.nano_usd, backend, error.__cause__)
    return cost


def observe(meters: BackendMeters, answer: Answer, completion: Completion, total_s: float, own_s: float) -> None:
    """What an answer adds to the histograms and counters."""
    meters.duration.observe(total_s)
    meters.overhead.observe(own_s)
    if completion.time_to_first_token is not None:
        meters.first_token.observe(completion.time_to_first_token)
    per_token = seconds_per_token(completion)
    if per_token is not None:
        meters.per_token.observe(per_token)
    meters.recommended[answer.action].inc()
    meters.level[answer.action].observe(answer.conviction)
