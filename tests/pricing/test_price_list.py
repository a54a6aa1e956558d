"""Prices: every configured backend has one, or the gateway does not start."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.manifest import Capacity, Manifest
from app.errors import InvalidSettings
from app.pricing import price_list as module
from app.pricing.price_list import price_list
from app.pricing.prices import CapacityPrice, ListPrice
from app.settings.gateway import Settings

HOSTED = {"vllm_urls": "http://127.0.0.1:8000/v1"}


def settings(**given: Any) -> Settings:
    return Settings.model_validate(given)


CAPACITY = Capacity(
    tokens_per_hour=150_000,
    concurrency=4,
    machine="2 cores",
    usd_per_hour=Decimal("0.10"),
    price_source="an assumption",
)


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch) -> Callable[[Capacity | None], None]:
    """Set the capacity in the served model's manifest."""

    def states(capacity: Capacity | None) -> None:
        monkeypatch.setattr(module, "current", lambda store: store)
        monkeypatch.setattr(module, "read", lambda folder: Manifest.model_construct(capacity=capacity))

    return states


def test_an_unconfigured_backend_has_no_price(tmp_path: Path) -> None:
    assert price_list(settings(model_store=tmp_path)) == {}


def test_an_api_is_paid_by_its_list() -> None:
    price = price_list(settings(openai_api_key="sk-1", gpt4_model="gpt-4.1"))["gpt-4"]
    assert isinstance(price, ListPrice)
    assert price.output == 8


def test_a_model_without_a_list_price_stops_the_start() -> None:
    with pytest.raises(InvalidSettings, match="CONVICTION_GPT4_MODEL: no list price"):
        price_list(settings(openai_api_key="sk-1", gpt4_model="gpt-99"))


def test_a_hosted_model_is_paid_by_its_measured_capacity(manifest: Callable[[Capacity | None], None]) -> None:
    manifest(CAPACITY)
    price = price_list(settings(**HOSTED))["mistral"]
    assert price == CapacityPrice(Decimal("0.10"), Decimal(150_000))


def test_settings_override_the_manifest(manifest: Callable[[Capacity | None], None]) -> None:
    manifest(CAPACITY)
    given = settings(**HOSTED, hosting_usd_per_hour="0.7364")
    assert price_list(given)["mistral"] == CapacityPrice(Decimal("0.7364"), Decimal(150_000))


def test_both_settings_need_no_manifest(tmp_path: Path) -> None:
    given = settings(**HOSTED, model_store=tmp_path, hosting_usd_per_hour="0.7364", capacity_tokens_per_hour=200_000)
    assert price_list(given)["mistral"] == CapacityPrice(Decimal("0.7364"), Decimal(200_000))


def test_without_a_usable_model_the_error_names_both_settings(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="CONVICTION_HOSTING_USD_PER_HOUR and CONVICTION_CAPACITY_TOKENS"):
        price_list(settings(**HOSTED, model_store=tmp_path))


def test_a_model_without_a_capacity_stops_the_start(manifest: Callable[[Capacity | None], None]) -> None:
    manifest(None)
    with pytest.raises(InvalidSettings, match="states no capacity"):
        price_list(settings(**HOSTED))


def test_a_candidate_has_the_hosted_model_s_price(tmp_path: Path) -> None:
    given = {"hosting_usd_per_hour": "0.7364", "capacity_tokens_per_hour": 200_000, "model_store": tmp_path}
    price = CapacityPrice(Decimal("0.7364"), Decimal(200_000))
    assert price_list(settings(**given, candidate_urls=("http://b/v1",))) == {"candidate": price}
