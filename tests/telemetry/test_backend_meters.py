from __future__ import annotations

import pytest

from app.contract.completion import Usage
from app.pricing.prices import Cost
from app.telemetry.backend_meters import BackendMeters
from app.telemetry.collectors import RegisteredCollectors
from tests.doubles import PRICES


def test_input_tokens_exclude_cached_tokens() -> None:
    collectors = RegisteredCollectors()
    usage = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100)
    cost: Cost = PRICES["mistral"].cost(usage)
    BackendMeters(collectors, "mistral").count_usage(usage, cost)
    value = collectors.registry.get_sample_value
    tokens = {
        kind: value("conviction_tokens_total", {"backend": "mistral", "type": kind})
        for kind in ("input", "cached_input", "output")
    }
    assert tokens == {"input": 300, "cached_input": 100, "output": 11}
    labels = {"backend": "mistral", "basis": "capacity"}
    assert value("conviction_cost_usd_total", labels) == pytest.approx(float(cost.usd))
