"""Agreement of logged answers with later answers to the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.comparison.statistics import agreement
from app.comparison.statistics.estimate import Estimate, Sample, clustered
from app.contract.recommendation import ACTIONS, Action


class Given(NamedTuple):
    """What an answer says; the conviction is from 1 to 10."""

    action: Action
    conviction: int


@dataclass(frozen=True)
class Replayed:
    """A later answer to a question, and the logged one."""

    ticker: str | None
    later: Given
    logged: Given


@dataclass(frozen=True)
class ReplayAgreement:
    """The agreement of later answers with the logged ones; intervals at 95%, by ticker."""

    answers: int
    tickers: int
    agreement: Estimate | None
    kappa: Estimate | None
    """Cohen's; None if it is undefined."""
    conviction_difference: Estimate | None
    """The mean of the later answers' minus the logged ones'."""
    conviction_distance: Estimate | None
    """The mean absolute difference."""


def replay_agreement(replayed: Sequence[Replayed]) -> ReplayAgreement:
    """Return the agreement of at least one answer."""
    owner, clusters, tickers = clustered(np.array([(each.ticker or "").encode() for each in replayed]))
    sides = [[each.later for each in replayed], [each.logged for each in replayed]]
    actions = [np.array([ACTIONS.index(given.action) for given in side]) for side in sides]
    convictions = [np.array([given.conviction for given in side]) for side in sides]
    sample = Sample(agreement.paired_columns(actions, convictions), owner, clusters)
    return ReplayAgreement(
        answers=len(replayed),
        tickers=tickers,
        agreement=agreement.agreement(sample),
        kappa=sample.estimate(agreement.kappa),
        conviction_difference=sample.estimate(agreement.difference),
        conviction_distance=sample.estimate(agreement.distance),
    )
