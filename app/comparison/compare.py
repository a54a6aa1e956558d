"""One question to two backends concurrently, stored as a pair; if one fails, the other's answer is still returned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from app.backends.upstream import Upstream
from app.comparison.hallucinations import Figures, figures
from app.comparison.pair_store import Comparisons
from app.comparison.pairs import Pair, Side
from app.comparison.versions import Version
from app.completions.request import RequestOptions
from app.contract.completion import BackendName
from app.contract.recommendation import ACTIONS
from app.errors import ConvictionError, Overloaded, RequestError, StoreUnavailable, client_error
from app.recommend import Question, Recommender, count_answer
from app.recommendation import Recommendation
from app.telemetry.metrics import Collectors, RequestObservation
from app.telemetry.request_timer import RequestTimer

STORE = "comparisons"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """Each backend's answer or error."""

    pair: Pair
    outcomes: Mapping[BackendName, Recommendation | ConvictionError]
    cited: Mapping[BackendName, Figures | None]
    """The figures in the analyses."""
    stored: bool


async def compare(
    question: Question,
    options: RequestOptions,
    recommender: Recommender,
    upstreams: Mapping[BackendName, Upstream],
    comparisons: Comparisons,
    collectors: Collectors,
) -> Compared:
    """Ask the two backends about the same metrics, each with its own call, without the cache.

    Raises `MarketError` and, if both backends refuse the request, the first refusal.
    """
    async with options.deadline.limit("no metrics of the ticker in time"):
        first = next(iter(upstreams.values()))
        complete = await recommender.with_metrics(question, first, options, RequestTimer())
    alone = replace(options, alone=True)
    asking = (
        _ask(
            complete if upstream is first else replace(complete, counted=False),
            upstream,
            alone,
            recommender,
            collectors,
        )
        for upstream in upstreams.values()
    )
    outcomes = dict(zip(upstreams, await asyncio.gather(*asking), strict=True))
    _require_one_call(outcomes)
    cited = {name: cited_figures(outcome) for name, outcome in outcomes.items()}
    assert complete.metrics is not None
    pair = Pair(
        id=uuid4().hex,
        at=datetime.now(UTC),
        ticker=complete.ticker.upper() if complete.ticker else None,
        as_of=complete.metrics.as_of,
        detail=complete.detail,
        origin="comparison",
        sides={name: side(outcome, cited[name]) for name, outcome in outcomes.items()},
        blind=complete.blind,
    )
    stored = await store_pair(pair, comparisons, collectors)
    return Compared(stored or pair, outcomes, cited, stored=stored is not None)


async def store_pair(pair: Pair, comparisons: Comparisons, collectors: Collectors) -> Pair | None:
    """Count and store a pair. Return it as stored; None, which is logged and counted, if the store is unavailable."""
    collectors.count_pair({name: each.action for name, each in pair.sides.items()})
    try:
        return await comparisons.append(pair)
    except StoreUnavailable as error:
        collectors.store_errors.labels(STORE).inc()
        log.warning("a pair is not stored: %s", error.detail)
        return None


def cited_figures(outcome: Recommendation | ConvictionError) -> Figures | None:
    """Return the figures of the analysis; None without one."""
    if isinstance(outcome, ConvictionError) or outcome.analysis is None:
        return None
    return figures(outcome.analysis, outcome.metrics)


def side(outcome: Recommendation | ConvictionError, cited: Figures | None) -> Side:
    """Return the stored part of an answer or an error."""
    if isinstance(outcome, ConvictionError):
        return Side(failure=outcome.code)
    usage, timing, given = outcome.usage, outcome.timing, outcome.probabilities
    return Side(
        action=outcome.action,
        conviction=outcome.conviction,
        probabilities={action: getattr(given, action) for action in ACTIONS} if given else None,
        total_ms=timing.total_ms,
        ttft_ms=timing.ttft_ms,
        ms_per_token=timing.ms_per_token,
        input_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        nano_usd=int(Decimal(outcome.cost.usd).scaleb(9)),
        figures=None if cited is None else len(cited.cited),
        unsupported=None if cited is None else len(cited.unsupported),
        stand_in=outcome.stand_in,
        version=Version(outcome.model, outcome.prompt_version),
    )


async def _ask(
    question: Question, upstream: Upstream, options: RequestOptions, recommender: Recommender, collectors: Collectors
) -> Recommendation | ConvictionError:
    """Return one backend's answer or error; the metrics count it as a separate request."""
    try:
        with collectors.track_request(RequestObservation(upstream.name, question.detail)):
            answer = await recommender.ask(question, upstream, options, RequestTimer())
            count_answer(upstream.meters, answer.recommendation, question.detail)
            return answer.recommendation
    except Exception as error:  # noqa: BLE001 - the other backend's answer is still returned
        return client_error(error)


def _require_one_call(outcomes: Mapping[BackendName, Recommendation | ConvictionError]) -> None:
    """Raise the first refusal if no backend was called, since there is no pair then."""
    refusals = [each for each in outcomes.values() if isinstance(each, RequestError | Overloaded | StoreUnavailable)]
    if len(refusals) == len(outcomes):
        raise refusals[0]
