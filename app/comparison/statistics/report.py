"""The report of selected pairs: agreement, latency, cost, and the ratios of both backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.comparison.pairs import DETAILS, NO_ACTION, ORIGINS, Origin, Records, moment, select
from app.comparison.statistics import agreement, latency_cost
from app.comparison.statistics.agreement import FIRST, SECOND, Confusion, Needed
from app.comparison.statistics.confidence_sequence import confidence_sequence
from app.comparison.statistics.estimate import RESAMPLES, Estimate, Numbers, Sample, Sums, clustered
from app.comparison.statistics.latency_cost import LatencyCost
from app.comparison.statistics.margins import MarginTest, margin_test
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.prompt import Detail

METHOD = (
    f"Intervals at 95% confidence by {RESAMPLES} resamples of whole tickers, their percentiles expanded by Student's t;"
    " none for fewer than five tickers. They hold for a number of pairs fixed in advance; agreement_anytime is a"
    " confidence sequence, which holds at every number of pairs from a fixed beginning, for the questions asked. The"
    " weighted kappa weighs buy against sell four times buy against hold. Marginal homogeneity is Bhapkar's test, by"
    " ticker. Agreement, kappa, convictions and ratios are of pairs that both answered."
    f" Ratios are means of {SECOND} over means of {FIRST}. Costs are as answers state them: list price, or the hourly"
    " price shared at measured capacity."
)
RATIOS = {
    "latency": ("total_ms", "pairs"),
    "ttft": ("ttft_ms", "ttfts"),
    "ms_per_token": ("steps_ms", "steps"),
    "usd_per_recommendation": ("nano_usd", "pairs"),
    "usd_per_1k_tokens": ("nano_usd", "tokens"),
}
"""Each a sum divided by another, per backend."""


@dataclass(frozen=True)
class Choice:
    """A selection of pairs by tickers, detail and origin; None selects all."""

    tickers: Sequence[str] | None = None
    detail: Detail | None = None
    origin: Origin | None = None

    def mask(self, records: Records) -> NDArray[np.bool_]:
        """Return the mask of the selected records."""
        chosen = np.ones(len(records), np.bool_)
        if self.tickers is not None:
            chosen &= np.isin(records["ticker"], np.array([name.encode() for name in self.tickers], "S10"))
        if self.detail is not None:
            chosen &= records["detail"] == DETAILS.index(self.detail)
        if self.origin is not None:
            chosen &= records["origin"] == ORIGINS.index(self.origin)
        return chosen


@dataclass(frozen=True)
class Report:
    """Both backends on the same questions, with 95% confidence intervals."""

    pairs: int
    answered_by_both: int
    tickers: Annotated[int, Field(description="tickers of the pairs that both answered")]
    first: datetime | None
    last: datetime | None
    details: dict[Detail, int]
    origins: dict[Origin, int]
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
    needed: Needed
    method: str = METHOD


def report(records: Records, choice: Choice, half_width: float) -> Report:
    """Return the report of the chosen records; `half_width` is the target for `needed`."""
    chosen = select(records, choice.mask(records))
    answered = [chosen[name]["action"] != NO_ACTION for name in BACKEND_NAMES]
    both = select(chosen, answered[0] & answered[1])
    sample, tickers = _sample(both)
    estimate: Callable[[Callable[[Sums], Numbers]], Estimate | None] = sample.estimate if sample else lambda _: None
    agreed = agreement.agreement(sample) if sample else None
    confusion = agreement.confusion(chosen)
    sides = {name: latency_cost.latency_cost(chosen[name]) for name in BACKEND_NAMES}
    return Report(
        pairs=len(chosen),
        answered_by_both=len(both),
        tickers=tickers,
        first=moment(int(chosen["time_ms"][0])) if len(chosen) else None,
        last=moment(int(chosen["time_ms"][-1])) if len(chosen) else None,
        details={name: int((chosen["detail"] == index).sum()) for index, name in enumerate(DETAILS)},
        origins={name: int((chosen["origin"] == index).sum()) for index, name in enumerate(ORIGINS)},
        stand_in=any(side.stand_ins for side in sides.values()),
        agreement=agreed,
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
        needed=agreement.needed(agreed, len(both), half_width),
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
