"""Tokens and cost by the name of a key, for the names that a setting lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from prometheus_client import Counter

from app.contract.completion import BackendName, Usage
from app.pricing.prices import Cost

OTHER = "other"
"""The label of all keys whose names are not listed."""


class KeyMeters:
    """Counts calls by key name and backend; without listed names it counts nothing."""

    def __init__(self, tokens: Counter, cost: Counter, listed: Sequence[str], backends: Iterable[BackendName]) -> None:
        self._tokens, self._cost, self._listed = tokens, cost, frozenset(listed)
        for labels in product((*listed, OTHER) if listed else (), backends):
            tokens.labels(*labels)
            cost.labels(*labels)

    def count_usage(self, key_name: str, backend: BackendName, usage: Usage, cost: Cost) -> None:
        """Count the tokens and the cost of a key's calls."""
        if not self._listed:
            return
        name = key_name if key_name in self._listed else OTHER
        self._tokens.labels(name, backend).inc(usage.prompt_tokens + usage.completion_tokens)
        self._cost.labels(name, backend).inc(float(cost.usd))
