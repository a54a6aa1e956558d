"""All Prometheus collectors of a gateway: names, labels and buckets."""

from __future__ import annotations

from itertools import product
from typing import get_args

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from app.contract.recommendation import ACTIONS
from app.telemetry.labels import (
    ERROR,
    REASONS,
    SCOPES,
    STORES,
    BudgetNoticeResult,
    CacheResult,
    DecisionLogResult,
    ShadowResult,
)

KEY_LABELS = ("key_name", "backend")

DURATION = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60)
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
OVERHEAD = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5)
PER_TOKEN = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.0334),
    *(0.05, 0.076, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5),
)
LEVELS = tuple(range(1, 11))


class RegisteredCollectors:
    """The collectors of one gateway, in a separate registry; labels other than backend and key are bound in advance."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        self._add_request_collectors()
        self._add_usage_collectors()
        self._add_answer_collectors()
        self._add_backend_gauges()
        self._add_refusal_and_error_collectors()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _add_request_collectors(self) -> None:
        self.requests = self._counter(
            "requests", "Recommendations by outcome: ok or the error's code.", "backend", "detail", "outcome"
        )
        self.duration = self._seconds("request_duration", "From a request's arrival to its answer.", DURATION, "detail")
        self.first_token = self._seconds(
            "time_to_first_token", "From a call to a backend to its first token.", FIRST_TOKEN, "detail"
        )
        self.overhead = self._seconds(
            "gateway_overhead", "A request's time less the waiting for backend, market data and client.", OVERHEAD
        )
        self.per_token = self._seconds(
            "time_per_output_token", "From one output token to the next, a call's mean.", PER_TOKEN, "detail"
        )
        self.in_flight = self._gauge("in_flight_requests", "Requests being answered.", "backend")

    def _add_usage_collectors(self) -> None:
        self.tokens = self._counter(
            "tokens",
            "Tokens of all calls, failed answers included; input leaves out what cached_input counts.",
            *("backend", "type"),
        )
        self.cost = self._counter(
            "cost_usd",
            "USD of all calls, as answers state it: list price, or hourly price at measured capacity.",
            *("backend", "basis"),
        )
        self.key_tokens = self._counter(
            "key_tokens", "Tokens of a key's calls, in and out, for listed names; other: all others.", *KEY_LABELS
        )
        self.key_cost = self._counter("key_cost_usd", "USD of a key's calls, as answers state it.", *KEY_LABELS)
        self.hosting_price = self._gauge(
            "hosting_price_usd_per_hour", "USD an hour of one replica, used or not.", "backend"
        )
        self.budget_used = self._gauge("budget_used_usd", "USD charged today, by UTC.", "backend")
        self.budget_limit = self._gauge("budget_limit_usd", "USD a day that the settings allow.", "backend")
        self.budget_notices = self._counter(
            "budget_notices",
            "Notices for the webhook: sent; failed, to be repeated; or budgets dropped, which were not checked.",
            "result",
        )
        self.notices: dict[BudgetNoticeResult, Counter] = {
            result: self.budget_notices.labels(result) for result in get_args(BudgetNoticeResult)
        }

    def _add_answer_collectors(self) -> None:
        self.recommendations = self._counter("recommendations", "Answers by action.", "backend", "action")
        self.level = Histogram(
            "conviction_level",
            "Conviction of answers, 1 to 10.",
            ("backend", "action"),
            registry=self.registry,
            buckets=LEVELS,
        )
        self.cache_requests = self._counter(
            "cache_requests",
            "Answers by source: hit, the cache; coalesced, another request's call; miss, a call.",
            "result",
        )
        self.cache: dict[CacheResult, Counter] = {
            result: self.cache_requests.labels(result) for result in get_args(CacheResult)
        }
        self.pairs = self._counter(
            "ab_pairs",
            "Questions sent to both backends, by the actions of the answers, or error.",
            *("mistral_action", "gpt4_action"),
        )
        for actions in product((*ACTIONS, ERROR), repeat=2):
            self.pairs.labels(*actions)
        self.candidate_pairs = self._counter(
            "candidate_pairs",
            "Questions sent to the candidate and another backend, by that one and whether the actions agree.",
            *("other", "result"),
        )
        self.shadow_copies = self._counter(
            "shadow_copies",
            "Answers to be copied to the other backend: stored as a pair, shed for load, refused for a limit, or lost.",
            "result",
        )
        self.shadow: dict[ShadowResult, Counter] = {
            result: self.shadow_copies.labels(result) for result in get_args(ShadowResult)
        }

        self.decision_log_entries = self._counter(
            "decision_log_entries", "Answers for the decision log: stored, or dropped and not logged.", "result"
        )
        self.decision_log: dict[DecisionLogResult, Counter] = {
            result: self.decision_log_entries.labels(result) for result in get_args(DecisionLogResult)
        }

    def _add_backend_gauges(self) -> None:
        self.replicas = self._gauge("backend_replicas", "Replicas configured.", "backend")
        self.queue_depth = self._gauge("queue_depth", "Calls that wait for their turn.", "backend")
        self.breaker_state = self._gauge(
            "breaker_state", "1 for the state that calls find the backend's best server in.", "backend", "state"
        )

        self.canary_share = self._gauge("canary_share", "Fraction of requests that a canary gives to the candidate.")
        self.canary_phase = self._gauge("canary_phase", "1 for the phase that this gateway knows of.", "phase")

    def _add_refusal_and_error_collectors(self) -> None:
        self.limited = self._counter(
            "limited", "Requests refused for a limit, by owner and kind; gateway: its processor's.", "scope", "reason"
        )
        for limit in product(SCOPES, REASONS):
            self.limited.labels(*limit)
        self.overloaded = self.limited.labels("gateway", "processor")
        self.unparsed = self._counter(
            "unparsed_attempts", "Calls without a valid answer, including those that a second call repaired.", "backend"
        )
        self.store_errors = self._counter("store_errors", "Writes that the store did not take.", "store")
        for store in STORES:
            self.store_errors.labels(store)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"conviction_{name}_total", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...], *more: str) -> Histogram:
        labels = ("backend", *more)
        return Histogram(f"conviction_{name}_seconds", text, labels, registry=self.registry, buckets=buckets)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"conviction_{name}", text, labels, registry=self.registry)
