"""The figures of a set of pairs: agreement, speed, cost, and the ratios of both backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import Field

from app.comparison.records import NO_ACTION, Records, select, sides_of
from app.comparison.statistics import agreement, latency_cost
from app.comparison.statistics.agreement import Confusion
from app.comparison.statistics.confidence_sequence import confidence_sequence
from app.comparison.statistics.estimate import Estimate, Numbers, Sample, Sums, clustered
from app.comparison.statistics.latency_cost import LatencyCost
from app.comparison.statistics.margins import MarginTest, margin_test
from app.contract.completion import BackendName

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
    confusion: Annotated[Confusion, Field(description="the first backend's action, then the second's")]
    confusion_shares: Annotated[
        dict[str, dict[str, float | None]], Field(description="the same as fractions of each row; null in an empty row")
    ]
    conviction_difference: Annotated[
        Estimate | None, Field(description="mean of the first backend's minus the second's")
    ]
    conviction_distance: Annotated[Estimate | None, Field(description="mean absolute difference")]
    backends: Annotated[dict[BackendName, LatencyCost], Field(description="the first backend, then the second")]
    ratios: Annotated[dict[str, Estimate | None], Field(description="the second backend over the first")]


def figures(records: Records) -> Figures:
    """Return the figures of records."""
    first, second = names = sides_of(records.dtype)
    both = select(records, (records[first]["action"] != NO_ACTION) & (records[second]["action"] != NO_ACTION))
    sample, tickers = _sample(both)
    estimate: Callable[[Callable[[Sums], Numbers]], Estimate | None] = sample.estimate if sample else lambda _: None
    confusion = agreement.confusion(records)
    sides = {name: latency_cost.latency_cost(records[name]) for name in names}
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
        ratios={name: estimate(partial(_ratio, *names, *parts)) for name, parts in RATIOS.items()},
    )


def _sample(both: Records) -> tuple[Sample | None, int]:
    """Return the sample of the pairs that both backends answered, and its number of tickers."""
    if not len(both):
        return None, 0
    owner, clusters, tickers = clustered(both["ticker"])
    first, second = sides_of(both.dtype)
    columns = {**agreement.columns(both), **latency_cost.columns(both, first), **latency_cost.columns(both, second)}
    return Sample(columns, owner, clusters), tickers


def _ratio(first: str, second: str, over: str, under: str, sums: Sums) -> Numbers:
    def mean(backend: str) -> Numbers:
        return sums[f"{backend} {over}"] / sums[under if under == "pairs" else f"{backend} {under}"]

    return mean(second) / mean(first)
