"""The price of each backend's tokens, from the settings and the served model's manifest."""

from __future__ import annotations

from decimal import Decimal

from app.contract.completion import BackendName
from app.contract.manifest import Capacity, UnusableModel, current, read
from app.errors import InvalidSettings, NotConfigured
from app.pricing.prices import CapacityPrice, Price, list_price
from app.settings.gateway import Settings


def price_list(settings: Settings) -> dict[BackendName, Price]:
    """Return the price of each configured backend; the candidate has the hosted model's.

    Raises `InvalidSettings` if one has none.
    """
    prices: dict[BackendName, Price] = {}
    if settings.hosted_servers:
        prices["mistral"] = _hosted(settings)
    if settings.candidate_urls:
        prices["candidate"] = prices.get("mistral") or _hosted(settings)
    if settings.openai_api_key:
        try:
            prices["gpt-4"] = list_price(settings.gpt4_model)
        except NotConfigured as error:
            raise InvalidSettings(f"CONVICTION_GPT4_MODEL: {error.detail}") from None
    return prices


def _hosted(settings: Settings) -> CapacityPrice:
    """Return the figures of the settings, or else of the served model's manifest."""
    usd, tokens = settings.hosting_usd_per_hour, settings.capacity_tokens_per_hour
    if usd is None or tokens is None:
        measured = _measured(settings)
        usd = measured.usd_per_hour if usd is None else usd
        tokens = measured.tokens_per_hour if tokens is None else tokens
    return CapacityPrice(usd, Decimal(tokens))


def _measured(settings: Settings) -> Capacity:
    needed = "CONVICTION_HOSTING_USD_PER_HOUR and CONVICTION_CAPACITY_TOKENS_PER_HOUR: needed, since"
    try:
        capacity = read(current(settings.model_store)).capacity
    except UnusableModel as error:
        raise InvalidSettings(f"{needed} CONVICTION_MODEL_STORE has no usable model: {error}") from None
    if capacity is None:
        raise InvalidSettings(f"{needed} the served model's manifest states no capacity")
    return capacity
