"""Names, labels and buckets of the collectors, which dashboards depend on."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.contract.completion import BACKEND_NAMES, Usage
from app.errors import InvalidMetrics
from app.pricing.prices import Cost
from app.telemetry.metrics import BASIS, Collectors, RequestObservation
from tests.doubles import PRICES

EXPECTED = {
    "conviction_requests_total": ("counter", {"backend", "detail", "outcome"}),
    "conviction_request_duration_seconds": ("histogram", {"backend", "detail"}),
    "conviction_time_to_first_token_seconds": ("histogram", {"backend", "detail"}),
    "conviction_gateway_overhead_seconds": ("histogram", {"backend"}),
    "conviction_time_per_output_token_seconds": ("histogram", {"backend", "detail"}),
    "conviction_tokens_total": ("counter", {"backend", "type"}),
    "conviction_cost_usd_total": ("counter", {"backend", "basis"}),
    "conviction_hosting_price_usd_per_hour": ("gauge", {"backend"}),
    "conviction_backend_replicas": ("gauge", {"backend"}),
    "conviction_in_flight_requests": ("gauge", {"backend"}),
    "conviction_recommendations_total": ("counter", {"backend", "action"}),
    "conviction_level": ("histogram", {"backend", "action"}),
    "conviction_ab_pairs_total": ("counter", {"mistral_action", "gpt4_action"}),
    "conviction_candidate_pairs_total": ("counter", {"other", "result"}),
    "conviction_cache_requests_total": ("counter", {"result"}),
    "conviction_canary_share": ("gauge", set()),
    "conviction_canary_phase": ("gauge", {"phase"}),
    "conviction_limited_total": ("counter", {"scope", "reason"}),
    "conviction_shadow_copies_total": ("counter", {"result"}),
    "conviction_decision_log_entries_total": ("counter", {"result"}),
    "conviction_queue_depth": ("gauge", {"backend"}),
    "conviction_breaker_state": ("gauge", {"backend", "state"}),
    "conviction_key_tokens_total": ("counter", {"key_name", "backend"}),
    "conviction_key_cost_usd_total": ("counter", {"key_name", "backend"}),
    "conviction_budget_notices_total": ("counter", {"result"}),
    "conviction_budget_used_usd": ("gauge", {"backend"}),
    "conviction_budget_limit_usd": ("gauge", {"backend"}),
    "conviction_unparsed_attempts_total": ("counter", {"backend"}),
    "conviction_store_errors_total": ("counter", {"store"}),
}


def test_names_types_and_labels() -> None:
    collectors = Collectors()
    found = {
        metric.name + ("_total" if metric.type == "counter" else ""): metric.type
        for metric in collectors.registry.collect()
        if metric.name.startswith("conviction_")
    }
    assert found == {name: kind for name, (kind, _) in EXPECTED.items()}
    labels = {
        f"{collector._name}{'_total' if collector._type == 'counter' else ''}": set(collector._labelnames)
        for collector in vars(collectors).values()
        if hasattr(collector, "_labelnames")
    }
    assert labels == {name: labelled for name, (_, labelled) in EXPECTED.items()}


def test_failures_are_exported_as_zero_before_the_first() -> None:
    registry = Collectors().registry
    for backend in BACKEND_NAMES:
        for outcome in ("ok", "unparsed_answer", "backend_error", "backend_unavailable", "deadline_exceeded"):
            labels = {"backend": backend, "detail": "brief", "outcome": outcome}
            assert registry.get_sample_value("conviction_requests_total", labels) == 0


def test_a_request_is_counted_by_its_outcome() -> None:
    collectors = Collectors()
    observation = RequestObservation()
    with collectors.track_request(observation):
        observation.backend, observation.detail = "gpt-4", "full"
    with pytest.raises(InvalidMetrics), collectors.track_request(RequestObservation("mistral")):
        raise InvalidMetrics("")
    with pytest.raises(RuntimeError), collectors.track_request(RequestObservation()):
        raise RuntimeError
    with pytest.raises(asyncio.CancelledError), collectors.track_request(RequestObservation("mistral", "brief")):
        raise asyncio.CancelledError
    with collectors.track_request(RequestObservation("gpt-4", "brief", delegated=True)):
        pass
    counted = {
        tuple(sample.labels[name] for name in ("backend", "detail", "outcome"))
        for metric in collectors.requests.collect()
        for sample in metric.samples
        if sample.value
    }
    assert counted == {
        ("gpt-4", "full", "ok"),
        ("mistral", "unknown", "invalid_metrics"),
        ("unknown", "unknown", "internal_error"),
        ("mistral", "brief", "client_gone"),
    }


def test_input_tokens_exclude_cached_tokens() -> None:
    collectors = Collectors()
    usage = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100)
    cost: Cost = PRICES["mistral"].cost(usage)
    collectors.by_backend["mistral"].count_usage(usage, cost)
    value = collectors.registry.get_sample_value
    tokens = {
        kind: value("conviction_tokens_total", {"backend": "mistral", "type": kind})
        for kind in ("input", "cached_input", "output")
    }
    assert tokens == {"input": 300, "cached_input": 100, "output": 11}
    labels = {"backend": "mistral", "basis": "capacity"}
    assert value("conviction_cost_usd_total", labels) == pytest.approx(float(cost.usd))


def test_the_basis_of_each_backend_is_that_of_its_price() -> None:
    usage = Usage(1, 1)
    assert {name: price.cost(usage).basis for name, price in PRICES.items()} == {name: BASIS[name] for name in PRICES}


def test_the_exposition_parses_and_includes_process_metrics() -> None:
    names = {family.name for family in text_string_to_metric_families(Collectors().render().decode())}
    assert {"process_cpu_seconds", "python_info", "python_gc_collections", "conviction_level"} <= names
    assert not any(name.endswith("_created") for name in names)
