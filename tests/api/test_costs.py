"""GET /v1/costs: figures of what was really booked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.doubles import Gateway, ask, gateway

Json = dict[str, Any]


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store) as running:
        yield running


async def costs(running: Gateway) -> Json:
    response = await running.client.get("/v1/costs")
    assert response.status_code == 200
    found: Json = response.json()
    return found


async def test_without_traffic_present_use_is_null(running: Gateway) -> None:
    found = await costs(running)
    assert found["hosted"]["usd_per_1k_tokens_at_present_use"]["value"] is None
    assert found["hosted"]["usd_per_hour"] == {
        "value": "0.1",
        "unit": "USD an hour",
        "formula": "0.1 USD an hour a replica x 1",
    }
    assert found["hosted"]["usd_per_1k_tokens_at_capacity"]["value"] == "0.001"
    assert found["models"] == {"mistral": "double-1", "gpt-4": "double-1"}


async def test_traffic_makes_the_present_use(running: Gateway) -> None:
    spent = Decimal(0)
    for _ in range(4):
        assert (await ask(running)).status_code == 200
        spent += Decimal((await ask(running, X_Backend="gpt-4")).json()["cost"]["usd"])
    found = await costs(running)
    assert found["use"]["mistral"]["requests"] == found["use"]["gpt-4"]["requests"] == 4
    tokens = 4 * 411
    assert Decimal(found["hosted"]["usd_per_1k_tokens_at_present_use"]["value"]) == round(Decimal(100) / tokens, 9)
    assert Decimal(found["api"]["usd_per_call_at_present_use"]["value"]) == spent / 4
    calls = Decimal(found["break_even"]["calls_per_hour_at_present_use"]["value"])
    assert calls == round(Decimal("0.1") / (spent / 4), 1)
