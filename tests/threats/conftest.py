"""The gateway as a separate process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.test_main import Serving

TIMEOUT_S = 60.0


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[Serving]:
    """Start a gateway, wait until it answers, and stop it afterwards."""
    with Serving(folder, CONVICTION_DRAIN_S="0.1", **environment).up(stop_s=TIMEOUT_S) as serving:
        yield serving
