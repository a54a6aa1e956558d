"""How replicas are added and taken away as deploy/helm/engines tells KEDA to, and a load that rises and falls."""

from __future__ import annotations

from collections import deque
from math import ceil

import numpy as np

from deploy.loadtest.queueing import Floats
from deploy.loadtest.service import Scaling

TOLERANCE = 0.1
"""Of Kubernetes' autoscaler: so close to what is wanted is as good as there."""


class Autoscaler:
    """Asked every `poll_s`, with what there is. With `by_running` off, waiting requests alone count."""

    def __init__(self, rule: Scaling, concurrency: int, *, by_running: bool) -> None:
        self._rule, self._at_once, self._by_running = rule, concurrency, by_running
        self._asked: deque[tuple[float, int]] = deque()
        self._changed: deque[tuple[float, int]] = deque()
        """Replicas added, or with a minus taken away, by moment."""

    def __call__(self, now: float, waiting: int, running: int, replicas: int) -> int:
        wanted = self._wanted(waiting, running, replicas)
        if not self._asked:  # what there is at first counts as wanted
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
        """The most that any metric asks for, each as an average a replica."""
        targets = [(waiting, self._rule.waiting)]
        if self._by_running:
            targets.append((running, self._rule.running * self._at_once))
        asked = [
            replicas if abs(value / replicas / target - 1) <= TOLERANCE else ceil(value / target)
            for value, target in targets
        ]
        return min(max(1, *asked), self._rule.most)

    def _left(self, now: float, sign: int) -> int:
        """Of what may be added, or taken away, within the policy's span of time."""
        step = self._rule.up if sign > 0 else self._rule.down
        while self._changed and self._changed[0][0] <= now - max(self._rule.up.every_s, self._rule.down.every_s):
            self._changed.popleft()
        lately = sum(change * sign for at, change in self._changed if change * sign > 0 and at > now - step.every_s)
        return max(0, step.replicas - lately)


def rise_and_fall(low: float, high: float, seconds: float, draw: np.random.Generator) -> Floats:
    """Moments of arrival: a Poisson process whose rate a second goes from low to high and back, as a cosine does."""
    candidates = np.cumsum(draw.exponential(1 / high, int(high * seconds * 1.2) + 1000))
    candidates = candidates[candidates < seconds]
    rate = low + (high - low) * (1 - np.cos(2 * np.pi * candidates / seconds)) / 2
    return candidates[draw.random(len(candidates)) * high < rate]
