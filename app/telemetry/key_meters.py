"""Tokens and cost by the name of a key, for the names that a setting lists."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter

from app.contract.completion import BACKEND_NAMES, BackendName, Usage
from app.pricing.prices import Cost

OTHER = "other"
"""The label of all keys whose names are not listed."""


class KeyMeters:
    """Counts calls by key name and backend; without listed names it counts nothing."""

    def __init__(self, tokens: Counter, cost: Counter, listed: Sequence[str]) -> None:
        names = (*listed, OTHER) if listed else ()
        self._meters = {
            (name, backend): (tokens.labels(name, backend), cost.labels(name, backend))
            for name in names
            for backend in BACKEND_NAMES
        }

    def count_usage(self, key_name: str, backend: BackendName, usage: Usage, cost: Cost) -> None:
        """Count the tokens and the cost of a key's calls."""
        if not self._meters:
            return
        tokens, usd = self._meters.get((key_name, backend)) or self._meters[OTHER, backend]
        tokens.inc(usage.prompt_tokens + usage.completion_tokens)
        usd.inc(float(cost.usd))
