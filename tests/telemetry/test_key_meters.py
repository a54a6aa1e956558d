"""Metrics by key name: listed names, and all others together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.completion import Usage
from app.telemetry.key_meters import OTHER
from app.telemetry.metrics import Collectors
from tests.doubles import PRICES

USAGE = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100)
COST = PRICES["gpt-4"].cost(USAGE)
LISTED = ("research", "trading")


def counted(collectors: Collectors) -> dict[str, float]:
    """Tokens by key name, where there are some."""
    [family] = collectors.key_tokens.collect()
    return {sample.labels["key_name"]: sample.value for sample in family.samples if sample.value}


def test_tokens_and_cost_are_counted_by_name() -> None:
    collectors = Collectors(key_names=LISTED)
    for name in ("research", "research", "ops", "cvk_0123456789ab_secret"):
        collectors.count_usage(name, "gpt-4", USAGE, COST)
    assert counted(collectors) == {"research": 822, OTHER: 822}
    value = collectors.registry.get_sample_value
    usd = value("conviction_key_cost_usd_total", {"key_name": "research", "backend": "gpt-4"})
    assert usd == pytest.approx(2 * float(COST.usd))


@given(st.lists(st.text(max_size=20), max_size=30))
def test_no_name_adds_a_series(names: list[str]) -> None:
    collectors = Collectors(key_names=LISTED)
    before = len(next(iter(collectors.key_tokens.collect())).samples)
    for name in names:
        collectors.count_usage(name, "mistral", USAGE, PRICES["mistral"].cost(USAGE))
    assert len(next(iter(collectors.key_tokens.collect())).samples) == before
    assert sum(counted(collectors).values()) == 411 * len(names)


def test_without_listed_names_nothing_is_counted_by_key() -> None:
    collectors = Collectors()
    collectors.count_usage("research", "gpt-4", USAGE, COST)
    assert [sample for family in collectors.key_tokens.collect() for sample in family.samples] == []
    assert collectors.registry.get_sample_value("conviction_tokens_total", {"backend": "gpt-4", "type": "output"}) == 11
