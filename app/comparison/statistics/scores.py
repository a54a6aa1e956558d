"""Brier score and logarithmic loss of probabilities on realised returns, beside a forecast of the classes' shares.

G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from app.comparison.statistics.estimate import Estimate, Numbers, Sample, Sums, clustered
from app.comparison.statistics.hits import DAILY_BAND, Outcomes
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.recommendation import ACTIONS

Statistics = Sequence[Callable[[Sums], Numbers]]

LEAST = 1e-6
"""Probabilities are stated with six decimals: one of 0 counts as this in the logarithmic loss."""


@dataclass(frozen=True)
class Scores:
    """How well one backend's probabilities predicted the class of the return; lower is better."""

    backend: BackendName
    advice: int
    """Answers with probabilities."""
    tickers: int
    brier: Estimate | None
    """The mean of the squared errors of the three probabilities, summed: from 0 to 2."""
    brier_shares: Estimate | None
    """That of forecasting the classes' shares among the same returns every time."""
    log_loss: Estimate | None
    """The mean of minus the natural logarithm of the probability of the class that came true."""
    log_loss_shares: Estimate | None
    """That of the shares: their entropy."""


def scores(outcomes: Outcomes, sessions: int) -> Iterator[Scores]:
    """Yield the scores of each backend that stated probabilities."""
    true = classes(outcomes.returns, sessions)
    for backend in BACKEND_NAMES:
        stated = outcomes.probabilities.get(backend)
        if stated is not None and (known := np.isfinite(stated).all(axis=1)).any():
            owner, clusters, tickers = clustered(outcomes.tickers[known])
            sample = Sample(_columns(stated[known], true[known]), owner, clusters)
            statistics: Statistics = (partial(_mean, "brier"), _gini, partial(_mean, "loss"), _entropy)
            yield Scores(backend, int(known.sum()), tickers, *map(sample.estimate, statistics))


def classes(returns: Numbers, sessions: int) -> NDArray[np.intp]:
    """Return the class of each return as an index of ACTIONS: hold within the band of `hits`, else buy or sell."""
    band = DAILY_BAND * sqrt(sessions)
    buy, sell, hold = (ACTIONS.index(action) for action in ("buy", "sell", "hold"))
    return np.where(returns > band, buy, np.where(returns < -band, sell, hold)).astype(np.intp)


def _columns(stated: Numbers, true: NDArray[np.intp]) -> dict[str, Numbers]:
    outcome = np.eye(len(ACTIONS))[true]
    return {
        "all": np.ones(len(true)),
        "brier": ((stated - outcome) ** 2).sum(axis=1),
        "loss": -np.log(np.maximum((stated * outcome).sum(axis=1), LEAST)),
        **{action: outcome[:, index] for index, action in enumerate(ACTIONS)},
    }


def _mean(name: str, sums: Sums) -> Numbers:
    return sums[name] / sums["all"]


def _gini(sums: Sums) -> Numbers:
    """Return the Brier score of the shares: 1 minus the sum of their squares."""
    return np.asarray(1 - sum((_mean(action, sums) ** 2 for action in ACTIONS), start=np.float64(0)))


def _entropy(sums: Sums) -> Numbers:
    shares = [_mean(action, sums) for action in ACTIONS]
    return np.asarray(-sum((share * np.log(np.where(share > 0, share, 1)) for share in shares), start=np.float64(0)))
