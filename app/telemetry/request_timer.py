"""How long a request took, and how much of that was the gateway's own doing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class RequestTimer:
    """Runs from its creation on; seconds."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent in here is spent waiting for somebody else: client, market data or backend."""
        began = perf_counter()
        try:
            yield
        finally:
            self._waited += perf_counter() - began

    def waited(self, seconds: float) -> None:
        """Count time as waiting that was spent so elsewhere, in a task that this one waited for."""
        self._waited += seconds

    def read(self) -> tuple[float, float]:
        """The total so far, and the part of it that was not spent waiting."""
        total = perf_counter() - self._started
        return total, max(0.0, total - self._waited)
