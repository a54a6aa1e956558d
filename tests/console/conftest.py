"""The gateway around doubles, for what is served without a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.doubles import Gateway, gateway


@pytest.fixture
async def running(store_url: str) -> AsyncIterator[Gateway]:
    async with gateway(store_url) as running:
        yield running
