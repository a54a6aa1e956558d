"""The figures of a set of pairs: agreement, speed, cost, and the ratios of both backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import Field

from app.comparison.pairs import NO_ACTION, Records, select
from app.comparison.statistics import agreement, latency_cost
from app.comparison.statistics.agreement import FIRST, SECOND, Confusion
from app.comparison.statistics.confidence_sequence import confidence_sequence
from app.comparison.statistics.estimate import Estimate, Numbers, Sample, Sums, clustered
from app.comparison.statistics.latency_cost import LatencyCost
from app.comparison.statistics.margins import MarginTest, margin_test
from app.contract.completion import BACKEND_NAMES, BackendName

RATIOS = {
    "latency": ("total_ms", "pairs"),
    "ttft": ("ttft_ms", "ttfts"),
    "ms_per_token": ("steps_ms", "steps"),
    "usd_per_recommendation": ("nano_usd", "pairs"),
    "usd_per_1k_tokens": ("nano_usd", "tokens"),
}
"""Each a sum divided by another, per backend."""


@dataclass(frozen=True)
class Figures:
    """Both backends on the same questions, with 95% confidence intervals."""

    pairs: int
    answered_by_both: int
    tickers: Annotated[int, Field(description="tickers of the pairs that both answered")]
    stand_in: Annotated[
        bool, Field(description="whether the rule-based analyst answered any question instead of a model")
    ]
    agreement: Annotated[
        Estimate | None, Field(description="the share of equal actions; the interval is for a fixed number of pairs")
    ]
    agreement_anytime: Annotated[
        Estimate | None,
        Field(description="the same with an interval that stays valid however often the report is read"),
    ]
    kappa: Annotated[Estimate | None, Field(description="Cohen's")]
    weighted_kappa: Annotated[
        Estimate | None, Field(description="Cohen's, in which buy against sell weighs four times buy against hold")
    ]
    marginal_homogeneity: Annotated[
        MarginTest | None,
        Field(description="whether both choose each action equally often; null for fewer than five tickers"),
    ]
    confusion: Annotated[Confusion, Field(description=f"{FIRST}'s action, then {SECOND}'s")]
    confusion_shares: Annotated[
        dict[str, dict[str, float | None]], Field(description="the same as fractions of each row; null in an empty row")
    ]
    conviction_difference: Annotated[Estimate | None, Field(description=f"mean of {FIRST}'s minus {SECOND}'s")]
    conviction_distance: Annotated[Estimate | None, Field(description="mean absolute difference")]
    backends: dict[BackendName, LatencyCost]
    ratios: Annotated[dict[str, Estimate | None], Field(description=f"{SECOND} over {FIRST}")]


def figures(records: Records) -> Figures:
    """Return the figures of records."""
    answered = [records[name]["action"] != NO_ACTION for name in BACKEND_NAMES]
    both = select(records, answered[0] & answered[1])
    sample, tickers = _sample(both)
    estimate: Callable[[Callable[[Sums], Numbers]], Estimate | None] = sample.estimate if sample else lambda _: None
    confusion = agreement.confusion(records)
    sides = {name: latency_cost.latency_cost(records[name]) for name in BACKEND_NAMES}
    return Figures(
        pairs=len(records),
        answered_by_both=len(both),
        tickers=tickers,
        stand_in=any(side.stand_ins for side in sides.values()),
        agreement=agreement.agreement(sample) if sample else None,
        agreement_anytime=confidence_sequence(float(agreement.same(sample.whole)), len(both)) if sample else None,
        kappa=estimate(agreement.kappa),
        weighted_kappa=estimate(agreement.weighted_kappa),
        marginal_homogeneity=margin_test(sample.by_cluster) if sample else None,
        confusion=confusion,
        confusion_shares=agreement.row_shares(confusion),
        conviction_difference=estimate(agreement.difference),
        conviction_distance=estimate(agreement.distance),
        backends=sides,
        ratios={name: estimate(partial(_ratio, *parts)) for name, parts in RATIOS.items()},
    )


def _sample(both: Records) -> tuple[Sample | None, int]:
    """Return the sample of the pairs that both backends answered, and its number of tickers."""
    if not len(both):
        return None, 0
    owner, clusters, tickers = clustered(both["ticker"])
    columns = {**agreement.columns(both), **latency_cost.columns(both, FIRST), **latency_cost.columns(both, SECOND)}
    return Sample(columns, owner, clusters), tickers


def _ratio(over: str, under: str, sums: Sums) -> Numbers:
    def mean(backend: str) -> Numbers:
        return sums[f"{backend} {over}"] / sums[under if under == "pairs" else f"{backend} {under}"]

    return mean(SECOND) / mean(FIRST)
