"""One question to both backends at once, and what is kept of it: whichever fails, the other's answer stands."""

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
from app.completions.request import RequestOptions
from app.contract.completion import BackendName
from app.contract.recommendation import ACTIONS
from app.errors import ConvictionError, Overloaded, RequestError, StoreUnavailable, foreseen
from app.recommend import Question, Recommender
from app.recommendation import Recommendation
from app.telemetry.metrics import Collectors, RequestObservation
from app.telemetry.request_timer import RequestTimer

STORE = "comparisons"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """What each backend answered, or how it failed."""

    pair: Pair
    outcomes: Mapping[BackendName, Recommendation | ConvictionError]
    cited: Mapping[BackendName, Figures | None]
    """Figures in the analyses."""
    stored: bool


async def compare(
    question: Question,
    options: RequestOptions,
    recommender: Recommender,
    upstreams: Mapping[BackendName, Upstream],
    comparisons: Comparisons,
    collectors: Collectors,
) -> Compared:
    """Ask both of the same metrics, each with a call of its own, whatever is in the cache.

    Raises what keeps both from being asked: of the market, or the first backend's refusal where both refuse.
    """
    async with options.deadline.limit("no metrics of the ticker in time"):
        seen = await recommender.with_metrics(question, RequestTimer())
    alone = replace(options, alone=True)
    asked = (_outcome(seen, upstream, alone, recommender, collectors) for upstream in upstreams.values())
    outcomes = dict(zip(upstreams, await asyncio.gather(*asked), strict=True))
    _require_asked(outcomes)
    cited = {name: cited_figures(outcome) for name, outcome in outcomes.items()}
    assert seen.metrics is not None
    pair = Pair(
        id=uuid4().hex,
        at=datetime.now(UTC),
        ticker=seen.ticker.upper() if seen.ticker else None,
        as_of=seen.metrics.as_of,
        detail=seen.detail,
        origin="comparison",
        sides={name: side(outcome, cited[name]) for name, outcome in outcomes.items()},
    )
    kept = await keep(pair, comparisons, collectors)
    return Compared(kept or pair, outcomes, cited, stored=kept is not None)


async def keep(pair: Pair, comparisons: Comparisons, collectors: Collectors) -> Pair | None:
    """Count and store a pair; as it is stored, or None, which is logged and counted, where the store is away."""
    collectors.count_pair({name: each.action for name, each in pair.sides.items()})
    try:
        return await comparisons.append(pair)
    except StoreUnavailable as error:
        collectors.store_errors.labels(STORE).inc()
        log.warning("a pair of answers is not stored: %s", error.detail)
        return None


def cited_figures(outcome: Recommendation | ConvictionError) -> Figures | None:
    """Those of the analysis, if there is one."""
    if isinstance(outcome, ConvictionError) or outcome.analysis is None:
        return None
    return figures(outcome.analysis, outcome.metrics)


def side(outcome: Recommendation | ConvictionError, cited: Figures | None) -> Side:
    """What is kept of an answer, or of a failure."""
    if isinstance(outcome, ConvictionError):
        return Side(failure=outcome.code)
    usage, timing, shares = outcome.usage, outcome.timing, outcome.probabilities
    return Side(
        action=outcome.action,
        conviction=outcome.conviction,
        probabilities={action: getattr(shares, action) for action in ACTIONS} if shares else None,
        total_ms=timing.total_ms,
        ttft_ms=timing.ttft_ms,
        ms_per_token=timing.ms_per_token,
        input_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        nano_usd=int(Decimal(outcome.cost.usd).scaleb(9)),
        figures=None if cited is None else len(cited.cited),
        invented=None if cited is None else len(cited.invented),
        stand_in=outcome.stand_in,
    )


async def _outcome(
    seen: Question, upstream: Upstream, options: RequestOptions, recommender: Recommender, collectors: Collectors
) -> Recommendation | ConvictionError:
    """The answer of one backend, or how it failed; each is a request of its own in the collectors."""
    try:
        with collectors.track_request(RequestObservation(upstream.name, seen.detail)):
            timer = RequestTimer()
            return (await recommender.ask(seen, upstream, options, timer)).answered(timer).recommendation
    except Exception as error:  # noqa: BLE001 - the other's answer stands
        return foreseen(error)


def _require_asked(outcomes: Mapping[BackendName, Recommendation | ConvictionError]) -> None:
    """Raise the first refusal where nobody was asked: there is no pair then."""
    refusals = [each for each in outcomes.values() if isinstance(each, RequestError | Overloaded | StoreUnavailable)]
    if len(refusals) == len(outcomes):
        raise refusals[0]
