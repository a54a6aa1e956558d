"""The metrics of a gateway: its collectors, the series of its backends and keys, and the counting of requests."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import get_args

from prometheus_client import Counter

from app.contract.completion import BACKEND_NAMES, CANDIDATE, BackendName, Usage
from app.contract.prompt import Detail
from app.contract.recommendation import Action
from app.errors import (
    BackendError,
    BackendUnavailable,
    ClientGone,
    ConvictionError,
    DeadlineExceeded,
    LimitReached,
    UnparsedAnswer,
)
from app.pricing.prices import Cost
from app.telemetry.backend_meters import BackendMeters
from app.telemetry.collectors import RegisteredCollectors
from app.telemetry.key_meters import KeyMeters
from app.telemetry.labels import AGREE, DIFFER, ERROR, OK, UNKNOWN, CanaryPhase, DetailLabel

FAILURES: tuple[type[ConvictionError], ...] = (
    BackendError,
    UnparsedAnswer,
    BackendUnavailable,
    DeadlineExceeded,
)
"""Outcomes that dashboards alert on, exported as 0 before the first occurrence."""


@dataclass
class RequestObservation:
    """The labels of a request, filled in as they become known."""

    backend: BackendName | None = None
    detail: DetailLabel | None = None
    delegated: bool = False
    """Whether another observation counts the outcome."""
    fallback_from: BackendName | None = None
    """The backend that failed before a fallback replaced it."""


class Collectors(RegisteredCollectors):
    """All collectors of one gateway, with the series of its backends and of named keys."""

    def __init__(self, backends: Iterable[BackendName] = BACKEND_NAMES, key_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.by_backend = {name: BackendMeters(self, name) for name in backends}
        self.by_key = KeyMeters(self.key_tokens, self.key_cost, key_names, self.by_backend)
        if CANDIDATE in self.by_backend:
            for labels in product(BACKEND_NAMES, (AGREE, DIFFER, ERROR)):
                self.candidate_pairs.labels(*labels)
        outcomes = (OK, *(failure.code for failure in FAILURES))
        self._outcomes: dict[tuple[str, str, str], Counter] = {
            labels: self.requests.labels(*labels) for labels in product(self.by_backend, get_args(Detail), outcomes)
        }
        self.show_canary("off", 0.0)

    def count_usage(self, key_name: str, backend: BackendName, usage: Usage, cost: Cost) -> None:
        """Count the tokens and the cost of a key's calls, by backend and by key."""
        self.by_backend[backend].count_usage(usage, cost)
        self.by_key.count_usage(key_name, backend, usage, cost)

    @contextmanager
    def track_request(self, observation: RequestObservation) -> Iterator[None]:
        """Count one request by its outcome, with the labels that are known when the block ends."""
        outcome = ConvictionError.code
        try:
            yield
            outcome = OK
        except ConvictionError as error:
            outcome = error.code
            if isinstance(error, LimitReached):
                self.limited.labels(error.scope, error.reason).inc()
            raise
        except (CancelledError, GeneratorExit):
            outcome = ClientGone.code
            raise
        finally:
            if outcome != OK or not observation.delegated:
                self._count(observation, outcome)

    def record_fallback(self, observation: RequestObservation, error: ConvictionError, fallback: BackendName) -> None:
        """Count a request's failure at its backend, and label it with the fallback from here on."""
        self._count(observation, error.code)
        observation.fallback_from, observation.backend = observation.backend, fallback

    def count_pair(self, actions: Mapping[BackendName, Action | None]) -> None:
        """Count a question that was sent to two backends; None is the action of a backend that failed."""
        if CANDIDATE not in actions:
            self.pairs.labels(*(actions[name] or ERROR for name in BACKEND_NAMES)).inc()
            return
        (other,) = (name for name in actions if name != CANDIDATE)
        one, two = actions.values()
        result = ERROR if one is None or two is None else AGREE if one == two else DIFFER
        self.candidate_pairs.labels(other, result).inc()

    def show_canary(self, phase: CanaryPhase, share: float) -> None:
        """Publish the canary's phase, and the share of the requests that the candidate gets."""
        self.canary_share.set(share)
        for each in get_args(CanaryPhase):
            self.canary_phase.labels(each).set(each == phase)

    def _count(self, observation: RequestObservation, outcome: str) -> None:
        labels = (observation.backend or UNKNOWN, observation.detail or UNKNOWN, outcome)
        (self._outcomes.get(labels) or self.requests.labels(*labels)).inc()
