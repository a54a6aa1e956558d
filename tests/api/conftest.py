"""The gateway around doubles, for tests of what stands before them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.doubles import Gateway, gateway


@pytest.fixture
async def running(store_url: str) -> AsyncIterator[Gateway]:
    async with gateway(store_url) as running:
        yield running
