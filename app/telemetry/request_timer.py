"""The duration of a request, and the share of it that the gateway itself used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class RequestTimer:
    """A timer that runs from its creation; all values are in seconds."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within the block as waiting for the client, market data or a backend."""
        began = perf_counter()
        try:
            yield
        finally:
            self._waited += perf_counter() - began

    def add_waiting(self, seconds: float) -> None:
        """Count `seconds` as waiting that another task measured."""
        self._waited += seconds

    def read(self) -> tuple[float, float]:
        """Return the time since the creation, and that time without the waiting."""
        total = perf_counter() - self._started
        return total, max(0.0, total - self._waited)
