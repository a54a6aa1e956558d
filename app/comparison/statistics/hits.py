"""How often advice came true, beside how often it would have whatever had been advised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from app.comparison.statistics.estimate import FEWEST, Estimate, Numbers, Sample, Sums, clustered, wilson
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.recommendation import ACTIONS, Action

BUCKETS: Mapping[str, tuple[int, int]] = {"1-4": (1, 4), "5-7": (5, 7), "8-10": (8, 10)}
"""The lowest and the highest conviction of each."""
DAILY_BAND = 0.01
"""Hold is right where the return is within this times the square root of the sessions, either way."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """Questions whose returns are known. A row a question: `actions` are places in ACTIONS, -1 where there is none."""

    tickers: NDArray[np.bytes_]
    returns: Numbers
    """Fractions: 0.01 is one percent."""
    actions: Mapping[BackendName, NDArray[np.int8]]
    convictions: Mapping[BackendName, NDArray[np.int8]]


@dataclass(frozen=True)
class Hits:
    """Of one backend's advice; of one action or conviction where these are named."""

    backend: BackendName
    action: Action | None
    conviction: str | None
    advice: int
    tickers: int
    hit_rate: Estimate | None
    base_rate: Estimate | None
    """How often the same actions would have been right on all questions, whoever was told what."""
    lead: Estimate | None
    """The hit rate less the base rate."""
    mean_return: Estimate | None


def hits(outcomes: Outcomes, sessions: int) -> list[Hits]:
    """Every group of advice that there is, each backend's as a whole first."""
    right = came_true(outcomes.returns, sessions)
    owner, clusters, _ = clustered(outcomes.tickers)
    groups = list(_groups(outcomes))
    columns: dict[str, Numbers] = {"all": np.ones(len(outcomes.returns))}
    columns |= {f"right {action}": right[place].astype(np.float64) for place, action in enumerate(ACTIONS)}
    for group in groups:
        columns |= group.columns(outcomes, right)
    sample = Sample(columns, owner, clusters)
    return [group.told(sample, owner) for group in groups]


def came_true(returns: Numbers, sessions: int) -> Flags:
    """Whether each action was right of each question: a row an action."""
    band = DAILY_BAND * sqrt(sessions)
    by_action = {"buy": returns > 0, "sell": returns < 0, "hold": np.abs(returns) <= band}
    return np.stack([by_action[action] for action in ACTIONS])


@dataclass(frozen=True)
class _Group:
    """Some of a backend's advice."""

    backend: BackendName
    action: Action | None
    conviction: str | None
    mask: Flags

    @property
    def name(self) -> str:
        return f"{self.backend} {self.action} {self.conviction}"

    def columns(self, outcomes: Outcomes, right: Flags) -> Mapping[str, Numbers]:
        """What is to be added up for this group."""
        given = outcomes.actions[self.backend]
        mine = right[given, np.arange(len(given))] & self.mask
        by_action = {f"{self.name} {action}": self.mask & (given == place) for place, action in enumerate(ACTIONS)}
        parts = {self.name: self.mask, f"{self.name} hits": mine, **by_action}
        return {
            **{name: part.astype(np.float64) for name, part in parts.items()},
            f"{self.name} return": np.where(self.mask, outcomes.returns, 0.0),
        }

    def told(self, sample: Sample, owner: NDArray[np.intp]) -> Hits:
        tickers = len(np.unique(owner[self.mask]))

        def rate(sums: Sums) -> Numbers:
            return sums[f"{self.name} hits"] / sums[self.name]

        def base(sums: Sums) -> Numbers:
            expected = (sums[f"{self.name} {action}"] * sums[f"right {action}"] for action in ACTIONS)
            return sum(expected, start=np.float64(0)) / sums["all"] / sums[self.name]

        def mean(sums: Sums) -> Numbers:
            return sums[f"{self.name} return"] / sums[self.name]

        found = [sample.estimate(each) for each in (rate, base, lambda sums: rate(sums) - base(sums), mean)]
        if tickers < FEWEST:
            found = [each and Estimate(each.value) for each in found]
        if found[0] and found[0].low is not None and found[0].value in (0.0, 1.0):
            found[0] = wilson(found[0].value, tickers)
        return Hits(self.backend, self.action, self.conviction, int(self.mask.sum()), tickers, *found)


def _groups(outcomes: Outcomes) -> Iterator[_Group]:
    """Those that hold any advice."""
    for backend in BACKEND_NAMES:
        given, sure = outcomes.actions[backend], outcomes.convictions[backend]
        kinds: list[tuple[Action | None, Flags]] = [(None, given >= 0)]
        kinds += [(action, given == place) for place, action in enumerate(ACTIONS)]
        levels: list[tuple[str | None, Flags]] = [(None, given >= 0)]
        levels += [(name, (low <= sure) & (sure <= high)) for name, (low, high) in BUCKETS.items()]
        for action, kind in kinds:
            for name, level in levels:
                if (kind & level).any():
                    yield _Group(backend, action, name, kind & level)
