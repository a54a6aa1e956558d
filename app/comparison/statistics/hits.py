"""Hit rates and returns of advice, next to the base rate of the same actions on all questions and to a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from app.comparison.statistics.estimate import MIN_CLUSTERS, Estimate, Numbers, Sample, Sums, clustered, wilson
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.recommendation import ACTIONS, Action

BUCKETS: Mapping[str, tuple[int, int]] = {"1-4": (1, 4), "5-7": (5, 7), "8-10": (8, 10)}
"""The lowest and highest conviction of each bucket."""
DAILY_BAND = 0.01
"""Hold is right if the absolute return is at most this times the square root of the sessions."""

SIGNS = np.array([{"buy": 1.0, "sell": -1.0, "hold": 0.0}[action] for action in ACTIONS])
"""The share of the return that advice earns, by the index of its action."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """Questions with known returns, one row each. `actions` are indices of ACTIONS, -1 without an action."""

    tickers: NDArray[np.bytes_]
    returns: Numbers
    """Fractions: 0.01 is one percent."""
    benchmark: Numbers
    """The benchmark's returns from the same day over as many sessions; NaN where they are unknown."""
    actions: Mapping[BackendName, NDArray[np.int8]]
    convictions: Mapping[BackendName, NDArray[np.int8]]
    probabilities: Mapping[BackendName, Numbers] = field(default_factory=dict)
    """A column per action, in the order of ACTIONS; NaN where a backend stated none."""


@dataclass(frozen=True)
class Hits:
    """The results of one backend's advice, optionally of one action or conviction bucket."""

    backend: BackendName
    action: Action | None
    conviction: str | None
    advice: int
    tickers: int
    hit_rate: Estimate | None
    base_rate: Estimate | None
    """The hit rate of the same actions, assigned to all questions at random."""
    lead: Estimate | None
    """The hit rate minus the base rate."""
    mean_return: Estimate | None
    """That of buying each of the stocks."""
    signed_return: Estimate | None
    """The mean of the return for a buy, its negative for a sell and 0 for a hold."""
    benchmark_return: Estimate | None
    """The mean of buying the benchmark instead; None if one of its returns is unknown."""


def hits(outcomes: Outcomes, sessions: int) -> list[Hits]:
    """Return the results of every non-empty group of advice; each backend's total comes first."""
    right = came_true(outcomes.returns, sessions)
    owner, clusters, _ = clustered(outcomes.tickers)
    groups = list(_groups(outcomes))
    columns: dict[str, Numbers] = {"all": np.ones(len(outcomes.returns))}
    columns |= {f"right {action}": right[index].astype(np.float64) for index, action in enumerate(ACTIONS)}
    for group in groups:
        columns |= group.columns(outcomes, right)
    sample = Sample(columns, owner, clusters)
    return [group.hits(sample, owner) for group in groups]


def came_true(returns: Numbers, sessions: int) -> Flags:
    """Return whether each action was right, by action (rows) and question (columns)."""
    band = DAILY_BAND * sqrt(sessions)
    by_action = {"buy": returns > 0, "sell": returns < 0, "hold": np.abs(returns) <= band}
    return np.stack([by_action[action] for action in ACTIONS])


@dataclass(frozen=True)
class _Group:
    """A subset of a backend's advice."""

    backend: BackendName
    action: Action | None
    conviction: str | None
    mask: Flags

    @property
    def name(self) -> str:
        return f"{self.backend} {self.action} {self.conviction}"

    def columns(self, outcomes: Outcomes, right: Flags) -> Mapping[str, Numbers]:
        """Return the columns of this group, to be summed over clusters."""
        given = outcomes.actions[self.backend]
        hit = right[given, np.arange(len(given))] & self.mask
        by_action = {f"{self.name} {action}": self.mask & (given == index) for index, action in enumerate(ACTIONS)}
        parts = {self.name: self.mask, f"{self.name} hits": hit, **by_action}
        return {
            **{name: part.astype(np.float64) for name, part in parts.items()},
            f"{self.name} return": np.where(self.mask, outcomes.returns, 0.0),
            f"{self.name} signed": np.where(self.mask, SIGNS[given] * outcomes.returns, 0.0),
            f"{self.name} benchmark": np.where(self.mask, outcomes.benchmark, 0.0),
        }

    def hits(self, sample: Sample, owner: NDArray[np.intp]) -> Hits:
        tickers = len(np.unique(owner[self.mask]))

        def rate(sums: Sums) -> Numbers:
            return sums[f"{self.name} hits"] / sums[self.name]

        def base(sums: Sums) -> Numbers:
            expected = (sums[f"{self.name} {action}"] * sums[f"right {action}"] for action in ACTIONS)
            return sum(expected, start=np.float64(0)) / sums["all"] / sums[self.name]

        def mean(what: str) -> Callable[[Sums], Numbers]:
            return lambda sums: sums[f"{self.name} {what}"] / sums[self.name]

        statistics = (rate, base, lambda sums: rate(sums) - base(sums), *map(mean, ("return", "signed", "benchmark")))
        found = [sample.estimate(each) for each in statistics]
        if tickers < MIN_CLUSTERS:
            found = [each and Estimate(each.value) for each in found]
        if found[0] and found[0].low is not None and found[0].value in (0.0, 1.0):
            found[0] = wilson(found[0].value, tickers)
        return Hits(self.backend, self.action, self.conviction, int(self.mask.sum()), tickers, *found)


def _groups(outcomes: Outcomes) -> Iterator[_Group]:
    """Yield the groups that contain advice."""
    for backend in BACKEND_NAMES:
        given, convictions = outcomes.actions[backend], outcomes.convictions[backend]
        kinds: list[tuple[Action | None, Flags]] = [(None, given >= 0)]
        kinds += [(action, given == index) for index, action in enumerate(ACTIONS)]
        levels: list[tuple[str | None, Flags]] = [(None, given >= 0)]
        levels += [(name, (low <= convictions) & (convictions <= high)) for name, (low, high) in BUCKETS.items()]
        for action, kind in kinds:
            for name, level in levels:
                if (kind & level).any():
                    yield _Group(backend, action, name, kind & level)
