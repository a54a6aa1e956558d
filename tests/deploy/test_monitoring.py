"""Metrics and dashboards with a real Prometheus and a gateway under mixed load."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.backends.base import BREAKER_STATES
from app.contract.completion import BACKEND_NAMES
from app.contract.recommendation import ACTIONS
from app.errors import ConvictionError
from app.telemetry.key_meters import OTHER
from app.telemetry.labels import (
    ERROR,
    OK,
    REASONS,
    SCOPES,
    STORES,
    UNKNOWN,
    BudgetNoticeResult,
    CacheResult,
    CanaryPhase,
    DecisionLogResult,
    ShadowResult,
    TokenType,
)
from tests.deploy.monitored import LISTED_KEY, Watched, watched
from tests.deploy.test_dashboards import NAMES, exprs
from tests.deploy.test_prometheus_rules import RECORDED, kinds
from tests.telemetry.test_collectors import EXPECTED

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")

TIMEOUT_S = 300.0
FILLED_IN = {"$__rate_interval": "20s", "$__range": "5m"}

VALUES = {
    "backend": {*BACKEND_NAMES, UNKNOWN},
    "detail": {"brief", "full", "chat", UNKNOWN},
    "outcome": {OK, *(kind.code for kind in kinds(ConvictionError))},
    "type": set(get_args(TokenType)),
    "basis": {"capacity", "list_price"},
    "action": set(ACTIONS),
    "mistral_action": {*ACTIONS, ERROR},
    "gpt4_action": {*ACTIONS, ERROR},
    "state": set(BREAKER_STATES),
    "scope": {*SCOPES, "gateway"},
    "reason": {*REASONS, "processor"},
    "store": set(STORES),
    "key_name": {LISTED_KEY, OTHER},
    "phase": set(get_args(CanaryPhase)),
}
"""Values of labels that are the same in every metric; `result` belongs to four metrics."""
RESULTS = {
    "conviction_cache_requests_total": set(get_args(CacheResult)),
    "conviction_shadow_copies_total": set(get_args(ShadowResult)),
    "conviction_decision_log_entries_total": set(get_args(DecisionLogResult)),
    "conviction_budget_notices_total": set(get_args(BudgetNoticeResult)),
}
HOSTED = {"conviction_hosting_price_usd_per_hour", "conviction_backend_replicas"}
"""Series of the backend paid by the hour."""
OF_A_CANDIDATE = {"conviction_candidate_pairs_total"}
"""Metrics without series where there is no candidate."""
STILL = {
    "conviction_in_flight_requests",
    "conviction_queue_depth",
    "conviction_breaker_state",
    "conviction_store_errors_total",
    "conviction_shadow_copies_total",
}
"""Metrics that may be zero."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, store_url: str) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("watched"), f"{store_url}?db=7") as running:
        running.load.wait(3)
        yield running


def counted(page: str) -> list[Sample]:
    """The gateway's own samples."""
    families = text_string_to_metric_families(page)
    return [sample for family in families if family.name.startswith("conviction_") for sample in family.samples]


def metric_of(sample: Sample) -> str:
    """Return a metric's name as in the design."""
    for suffix in ("_bucket", "_sum", "_count"):
        if sample.name.removesuffix(suffix) in EXPECTED:
            return sample.name.removesuffix(suffix)
    return sample.name


def test_the_load_is_mixed(running: Watched) -> None:
    assert running.load.statuses == {200, 422, 429, 502}


def test_metrics_are_those_of_the_design(running: Watched) -> None:
    samples = counted(running.page())
    assert {metric_of(sample) for sample in samples} == set(EXPECTED) - OF_A_CANDIDATE
    for sample in samples:
        labels = set(sample.labels) - ({"le"} if sample.name.endswith("_bucket") else set())
        assert labels == EXPECTED[metric_of(sample)][1]


def test_labels_have_only_known_values(running: Watched) -> None:
    for sample in counted(running.page()):
        for label, value in sample.labels.items():
            if label == "result":
                assert value in RESULTS[sample.name]
            elif label != "le":
                assert value in VALUES[label], sample


def test_both_backends_are_counted_everywhere(running: Watched) -> None:
    seen: dict[str, set[str]] = {}
    for sample in counted(running.page()):
        if "backend" in sample.labels and sample.value > 0:
            seen.setdefault(metric_of(sample), set()).add(sample.labels["backend"])
    for name, (_, labels) in EXPECTED.items():
        if "backend" in labels and name not in STILL:
            assert seen[name] >= ({"mistral"} if name in HOSTED else set(BACKEND_NAMES)), name


def test_prometheus_reads_them_with_its_own_key(running: Watched) -> None:
    assert not running.prometheus.lacking(['up{job="conviction"} == 1', 'up{job="vllm"} == 1'], TIMEOUT_S)
    names = set(running.prometheus.get("label/__name__/values"))
    assert {sample.name for sample in counted(running.page())} <= names


def test_all_rules_can_be_evaluated(running: Watched) -> None:
    assert not running.prometheus.lacking(RECORDED, TIMEOUT_S)
    groups = running.prometheus.get("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    firing = running.prometheus.get("alerts")["alerts"]
    assert {alert["labels"]["alertname"] for alert in firing} <= {
        "ConvictionErrorRate",  # the load's own
        "ConvictionHostedDearerThanGpt4",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_data(running: Watched, name: str) -> None:
    assert not running.prometheus.lacking(exprs(name, FILLED_IN), TIMEOUT_S)
