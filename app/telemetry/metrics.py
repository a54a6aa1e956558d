"""All Prometheus collectors of a gateway, with the children of their labels bound in advance."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

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

from app.contract.completion import BACKEND_NAMES, CANDIDATE, BackendName, Usage
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS, Action
from app.errors import (
    BackendError,
    BackendUnavailable,
    ClientGone,
    ConvictionError,
    DeadlineExceeded,
    LimitReached,
    UnparsedAnswer,
)
from app.pricing.prices import Basis, Cost
from app.telemetry.key_meters import KeyMeters

OK = "ok"
ERROR = "error"
"""The label that replaces the action of a backend that failed, in a pair."""
AGREE, DIFFER = "agree", "differ"
"""Whether the actions of a pair are equal."""
UNKNOWN = "unknown"
"""The label of a request that was refused before its backend or detail was known."""

FAILURES: tuple[type[ConvictionError], ...] = (
    BackendError,
    UnparsedAnswer,
    BackendUnavailable,
    DeadlineExceeded,
)
"""Outcomes that dashboards alert on, exported as 0 before the first occurrence."""

SCOPES, REASONS = ("key", "backend"), ("requests", "tokens", "budget")
"""Whose limit refused a request, and which limit."""

STORES = ("ledger", "comparisons", "canary")
"""The stores whose failed writes are counted."""

KEY_LABELS = ("key_name", "backend")
TokenType = Literal["input", "cached_input", "output"]
DetailLabel = Detail | Literal["chat"]
"""How much a call wrote: a recommendation's detail, or a chat completion."""
CacheResult = Literal["hit", "miss", "coalesced"]
CanaryPhase = Literal["off", "running", "paused", "rolled_back"]
ShadowResult = Literal["stored", "shed", "refused", "lost"]
DecisionLogResult = Literal["stored", "dropped"]
BudgetNoticeResult = Literal["sent", "failed", "dropped"]
BASIS: Mapping[BackendName, Basis] = {"mistral": "capacity", "gpt-4": "list_price", "candidate": "capacity"}

DURATION = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60)
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
OVERHEAD = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5)
PER_TOKEN = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.0334),
    *(0.05, 0.076, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5),
)
LEVELS = tuple(range(1, 11))


@dataclass
class RequestObservation:
    """The labels of a request, filled in as they become known."""

    backend: BackendName | None = None
    detail: DetailLabel | None = None
    delegated: bool = False
    """Whether another observation counts the outcome."""
    fallback_from: BackendName | None = None
    """The backend that failed before a fallback replaced it."""


class BackendMeters:
    """The children of one backend's label in each collector."""

    def __init__(self, collectors: Collectors, backend: BackendName) -> None:
        self.duration = _by_detail(collectors.duration, backend)
        self.first_token = _by_detail(collectors.first_token, backend)
        self.per_token: dict[Detail, Histogram] = {
            detail: collectors.per_token.labels(backend, detail) for detail in get_args(Detail)
        }
        self.overhead = collectors.overhead.labels(backend)
        self.in_flight = collectors.in_flight.labels(backend)
        self.cost = collectors.cost.labels(backend, BASIS[backend])
        self.unparsed = collectors.unparsed.labels(backend)
        self.tokens: dict[TokenType, Counter] = {
            kind: collectors.tokens.labels(backend, kind) for kind in get_args(TokenType)
        }
        self.recommended: dict[Action, Counter] = {
            action: collectors.recommendations.labels(backend, action) for action in ACTIONS
        }
        self.level: dict[Action, Histogram] = {action: collectors.level.labels(backend, action) for action in ACTIONS}

    def count_usage(self, usage: Usage, cost: Cost) -> None:
        """Count the tokens and the cost of calls."""
        self.tokens["input"].inc(usage.prompt_tokens - usage.cached_tokens)
        self.tokens["cached_input"].inc(usage.cached_tokens)
        self.tokens["output"].inc(usage.completion_tokens)
        self.cost.inc(float(cost.usd))


class Collectors:
    """All collectors of one gateway, in a separate registry, with the series of its backends and of named keys."""

    def __init__(self, backends: Iterable[BackendName] = BACKEND_NAMES, key_names: Sequence[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        self._add_request_collectors()
        self._add_usage_collectors()
        self._add_answer_collectors()
        self._add_backend_gauges()
        self._add_refusal_and_error_collectors()
        self.by_backend = {name: BackendMeters(self, name) for name in backends}
        self.by_key = KeyMeters(self.key_tokens, self.key_cost, key_names, self.by_backend)
        if CANDIDATE in self.by_backend:
            for labels in product(BACKEND_NAMES, (AGREE, DIFFER, ERROR)):
                self.candidate_pairs.labels(*labels)
        outcomes = (OK, *(failure.code for failure in FAILURES))
        self._outcomes: dict[tuple[str, str, str], Counter] = {
            labels: self.requests.labels(*labels) for labels in product(self.by_backend, get_args(Detail), outcomes)
        }

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
        self.show_canary("off", 0.0)

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

    def count_usage(self, key_name: str, backend: BackendName, usage: Usage, cost: Cost) -> None:
        """Count the tokens and the cost of a key's calls, by backend and by key."""
        self.by_backend[backend].count_usage(usage, cost)
        self.by_key.count_usage(key_name, backend, usage, cost)

    @contextmanager
    def track_request(self, observation: RequestObservation) -> Iterator[None]:
        """Count one request by its outcome, with the labels that are known when the block ends."""
        outcome = ConvictionError.code
        try:
            yield
            outcome = OK
        except ConvictionError as error:
            outcome = error.code
            if isinstance(error, LimitReached):
                self.limited.labels(error.scope, error.reason).inc()
            raise
        except (CancelledError, GeneratorExit):
            outcome = ClientGone.code
            raise
        finally:
            if outcome != OK or not observation.delegated:
                self._count(observation, outcome)

    def record_fallback(self, observation: RequestObservation, error: ConvictionError, fallback: BackendName) -> None:
        """Count a request's failure at its backend, and label it with the fallback from here on."""
        self._count(observation, error.code)
        observation.fallback_from, observation.backend = observation.backend, fallback

    def count_pair(self, actions: Mapping[BackendName, Action | None]) -> None:
        """Count a question that was sent to two backends; None is the action of a backend that failed."""
        if CANDIDATE not in actions:
            self.pairs.labels(*(actions[name] or ERROR for name in BACKEND_NAMES)).inc()
            return
        (other,) = (name for name in actions if name != CANDIDATE)
        one, two = actions.values()
        result = ERROR if one is None or two is None else AGREE if one == two else DIFFER
        self.candidate_pairs.labels(other, result).inc()

    def show_canary(self, phase: CanaryPhase, share: float) -> None:
        """Publish the canary's phase, and the share of the requests that the candidate gets."""
        self.canary_share.set(share)
        for each in get_args(CanaryPhase):
            self.canary_phase.labels(each).set(each == phase)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _count(self, observation: RequestObservation, outcome: str) -> None:
        labels = (observation.backend or UNKNOWN, observation.detail or UNKNOWN, outcome)
        (self._outcomes.get(labels) or self.requests.labels(*labels)).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"conviction_{name}_total", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...], *more: str) -> Histogram:
        labels = ("backend", *more)
        return Histogram(f"conviction_{name}_seconds", text, labels, registry=self.registry, buckets=buckets)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"conviction_{name}", text, labels, registry=self.registry)


def _by_detail(collector: Histogram, backend: BackendName) -> dict[DetailLabel, Histogram]:
    details: tuple[DetailLabel, ...] = (*get_args(Detail), "chat")
    return {detail: collector.labels(backend, detail) for detail in details}
