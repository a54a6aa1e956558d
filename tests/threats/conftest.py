"""The gateway around doubles, or as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.test_main import Serving

TIMEOUT_S = 60.0


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[Serving]:
    """It answers, and is stopped afterwards."""
    with Serving(folder, CONVICTION_DRAIN_S="0.1", **environment).up(stop_s=TIMEOUT_S) as serving:
        yield serving
