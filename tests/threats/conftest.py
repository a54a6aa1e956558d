"""The gateway around doubles, or as a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doubles import Gateway, gateway
from tests.test_main import Serving

PATIENCE_S = 60.0


@pytest.fixture
async def running(store_url: str) -> AsyncIterator[Gateway]:
    async with gateway(store_url) as running:
        yield running


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[Serving]:
    """It answers, and is stopped afterwards."""
    serving = Serving(folder, CONVICTION_DRAIN_S="0.1", **environment)
    try:
        serving.wait()
        yield serving
    finally:
        serving.process.terminate()
        serving.process.wait(PATIENCE_S)
