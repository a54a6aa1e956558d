"""The gateway as a separate process, and one with keys in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doubles import Gateway, gateway
from tests.test_main import Serving

TIMEOUT_S = 60.0
KEY = "ops-0123456789abcdef"


@pytest.fixture
async def running_with_keys(store_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with keys, since without keys it issues none."""
    keys = tmp_path / "keys"
    keys.write_text(f"ops:{KEY}\n")
    keys.chmod(0o600)
    async with gateway(store_url, api_keys_file=keys) as running_with_keys:
        yield running_with_keys


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[Serving]:
    """Start a gateway, wait until it answers, and stop it afterwards."""
    with Serving(folder, CONVICTION_DRAIN_S="0.1", **environment).up(stop_s=TIMEOUT_S) as serving:
        yield serving
