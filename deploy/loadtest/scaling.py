"""Autoscaling by the KEDA settings in deploy/helm/engines, and a load that rises and falls."""

from __future__ import annotations

from collections import deque
from math import ceil

import numpy as np

from deploy.loadtest.queueing import Floats
from deploy.loadtest.service import Scaling

TOLERANCE = 0.1
"""Kubernetes' autoscaler tolerance: no change within it."""


class Autoscaler:
    """The autoscaler, polled every `poll_s`. Without `by_running`, only waiting requests count."""

    def __init__(self, rule: Scaling, concurrency: int, *, by_running: bool) -> None:
        self._rule, self._at_once, self._by_running = rule, concurrency, by_running
        self._asked: deque[tuple[float, int]] = deque()
        self._changed: deque[tuple[float, int]] = deque()
        """Replicas added (positive) or removed (negative), by time."""

    def __call__(self, now: float, waiting: int, running: int, replicas: int) -> int:
        wanted = self._wanted(waiting, running, replicas)
        if not self._asked:  # the initial replicas count as wanted
            self._asked.append((now, replicas))
        self._asked.append((now, wanted))
        while self._asked[0][0] < now - self._rule.down.after_s:
            self._asked.popleft()
        highest = max(asked for _, asked in self._asked)
        if wanted > replicas:
            change = min(wanted - replicas, self._left(now, 1))
        elif highest < replicas:
            change = -min(replicas - highest, self._left(now, -1))
        else:
            change = 0
        if change:
            self._changed.append((now, change))
        return replicas + change

    def _wanted(self, waiting: int, running: int, replicas: int) -> int:
        """Return the largest number of replicas that any metric requests, each as an average a replica."""
        targets = [(waiting, self._rule.waiting)]
        if self._by_running:
            targets.append((running, self._rule.running * self._at_once))
        counts = [
            replicas if abs(value / replicas / target - 1) <= TOLERANCE else ceil(value / target)
            for value, target in targets
        ]
        return min(max(1, *counts), self._rule.most)

    def _left(self, now: float, sign: int) -> int:
        """Return how many replicas may still be added or removed within the policy's period."""
        step = self._rule.up if sign > 0 else self._rule.down
        while self._changed and self._changed[0][0] <= now - max(self._rule.up.every_s, self._rule.down.every_s):
            self._changed.popleft()
        lately = sum(change * sign for at, change in self._changed if change * sign > 0 and at > now - step.every_s)
        return max(0, step.replicas - lately)


def rise_and_fall(low: float, high: float, seconds: float, draw: np.random.Generator) -> Floats:
    """Draw arrival times from a Poisson process whose rate follows a cosine from low to high and back."""
    candidates = np.cumsum(draw.exponential(1 / high, int(high * seconds * 1.2) + 1000))
    candidates = candidates[candidates < seconds]
    rate = low + (high - low) * (1 - np.cos(2 * np.pi * candidates / seconds)) / 2
    return candidates[draw.random(len(candidates)) * high < rate]
