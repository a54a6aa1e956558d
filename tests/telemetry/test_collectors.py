"""Names, labels and buckets of the collectors, which dashboards depend on."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from app.telemetry.collectors import RegisteredCollectors

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
    collectors = RegisteredCollectors()
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


def test_the_exposition_parses_and_includes_process_metrics() -> None:
    names = {family.name for family in text_string_to_metric_families(RegisteredCollectors().render().decode())}
    assert {"process_cpu_seconds", "python_info", "python_gc_collections", "conviction_level"} <= names
    assert not any(name.endswith("_created") for name in names)
