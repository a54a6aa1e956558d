"""The collectors' children of one backend's label."""

from __future__ import annotations

from typing import get_args

from prometheus_client import Counter, Histogram

from app.contract.completion import BackendName, Usage
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS, Action
from app.pricing.prices import Cost
from app.telemetry.collectors import RegisteredCollectors
from app.telemetry.labels import BASIS, DetailLabel, TokenType


class BackendMeters:
    """The children of one backend's label in each collector."""

    def __init__(self, collectors: RegisteredCollectors, backend: BackendName) -> None:
        self.duration = _by_detail(collectors.duration, backend)
        self.first_token = _by_detail(collectors.first_token, backend)
        self.per_token: dict[Detail, Histogram] = {
            detail: collectors.per_token.labels(backend, detail) for detail in get_args(Detail)
        }
        self.overhead = collectors.overhead.labels(backend)
        self.in_flight = collectors.in_flight.labels(backend)
        self.cost = collectors.cost.labels(backend, BASIS[backend])
        self.unparsed = collectors.unparsed.labels(backend)
        self.tokens: dict[TokenType, Counter] = {
            kind: collectors.tokens.labels(backend, kind) for kind in get_args(TokenType)
        }
        self.recommended: dict[Action, Counter] = {
            action: collectors.recommendations.labels(backend, action) for action in ACTIONS
        }
        self.level: dict[Action, Histogram] = {action: collectors.level.labels(backend, action) for action in ACTIONS}

    def count_usage(self, usage: Usage, cost: Cost) -> None:
        """Count the tokens and the cost of calls."""
        self.tokens["input"].inc(usage.prompt_tokens - usage.cached_tokens)
        self.tokens["cached_input"].inc(usage.cached_tokens)
        self.tokens["output"].inc(usage.completion_tokens)
        self.cost.inc(float(cost.usd))


def _by_detail(collector: Histogram, backend: BackendName) -> dict[DetailLabel, Histogram]:
    details: tuple[DetailLabel, ...] = (*get_args(Detail), "chat")
    return {detail: collector.labels(backend, detail) for detail in details}
