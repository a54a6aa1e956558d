"""Every Prometheus collector, in one registry per gateway, with its labels' children bound ahead."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Mapping
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

from app.contract.completion import BACKEND_NAMES, BackendName, Usage
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

OK = "ok"
ERROR = "error"
"""The label in an action's place where a backend of a pair gave none."""
UNKNOWN = "unknown"
"""The label where a request was refused before its backend or detail was known."""

FAILURES: tuple[type[ConvictionError], ...] = (
    BackendError,
    UnparsedAnswer,
    BackendUnavailable,
    DeadlineExceeded,
)
"""What a dashboard watches for: these outcomes show a zero before the first of them."""

SCOPES, REASONS = ("key", "backend"), ("requests", "tokens", "budget")
"""Whose limit a request was refused for, and which."""

STORES = ("ledger", "comparisons")
"""What is written for good."""

TokenType = Literal["input", "cached_input", "output"]
CacheResult = Literal["hit", "miss", "coalesced"]
ShadowResult = Literal["stored", "shed", "refused", "lost"]
BASIS: Mapping[BackendName, Basis] = {"mistral": "capacity", "gpt-4": "list_price"}

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
    """What is known of a request so far."""

    backend: BackendName | None = None
    detail: Detail | Literal["chat"] | None = None
    handed_on: bool = False
    """Whether it ends elsewhere, to be counted there."""
    failed: BackendName | None = None
    """The backend that another took over from."""


class BackendMeters:
    """The collectors' children of one backend."""

    def __init__(self, collectors: Collectors, backend: BackendName) -> None:
        self.duration = collectors.duration.labels(backend)
        self.first_token = collectors.first_token.labels(backend)
        self.per_token = collectors.per_token.labels(backend)
        self.overhead = collectors.overhead.labels(backend)
        self.in_flight = collectors.in_flight.labels(backend)
        self.cost = collectors.cost.labels(backend, BASIS[backend])
        self.unparsed = collectors.unparsed.labels(backend)
        self.tokens: Mapping[TokenType, Counter] = {
            kind: collectors.tokens.labels(backend, kind) for kind in get_args(TokenType)
        }
        self.recommended: Mapping[Action, Counter] = {
            action: collectors.recommendations.labels(backend, action) for action in ACTIONS
        }
        self.level: Mapping[Action, Histogram] = {
            action: collectors.level.labels(backend, action) for action in ACTIONS
        }

    def spend(self, usage: Usage, cost: Cost) -> None:
        """Count what calls used up."""
        self.tokens["input"].inc(usage.prompt_tokens - usage.cached_tokens)
        self.tokens["cached_input"].inc(usage.cached_tokens)
        self.tokens["output"].inc(usage.completion_tokens)
        self.cost.inc(float(cost.usd))


class Collectors:
    """All collectors of one gateway, and the page Prometheus reads."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        self.requests = Counter(
            "conviction_requests_total",
            "Recommendations asked for, by how they ended: ok or the error's code.",
            ("backend", "detail", "outcome"),
            registry=registry,
        )
        self.duration = self._seconds("request_duration", "From a request's arrival to its answer.", DURATION)
        self.first_token = self._seconds(
            "time_to_first_token", "From a call to a backend to its first token.", FIRST_TOKEN
        )
        self.overhead = self._seconds(
            "gateway_overhead",
            "A request's time less the waiting for backend, market data and client.",
            OVERHEAD,
        )
        self.per_token = self._seconds(
            "time_per_output_token", "From one output token to the next, a call's mean.", PER_TOKEN
        )
        self.tokens = Counter(
            "conviction_tokens_total",
            "Tokens of all calls, failed answers included; input leaves out what cached_input counts.",
            ("backend", "type"),
            registry=registry,
        )
        self.cost = Counter(
            "conviction_cost_usd_total",
            "USD of all calls, as answers state it: list price, or hourly price at measured capacity.",
            ("backend", "basis"),
            registry=registry,
        )
        self.hosting_price = Gauge(
            "conviction_hosting_price_usd_per_hour",
            "USD an hour of one replica, used or not.",
            ("backend",),
            registry=registry,
        )
        self.replicas = Gauge("conviction_backend_replicas", "Replicas configured.", ("backend",), registry=registry)
        self.in_flight = Gauge(
            "conviction_in_flight_requests", "Requests being answered.", ("backend",), registry=registry
        )
        self.recommendations = Counter(
            "conviction_recommendations_total", "Answers by action.", ("backend", "action"), registry=registry
        )
        self.level = Histogram(
            "conviction_level",
            "Conviction of answers, 1 to 10.",
            ("backend", "action"),
            registry=registry,
            buckets=LEVELS,
        )
        self.cache_requests = Counter(
            "conviction_cache_requests_total",
            "Answers by where they came from: hit, the cache; coalesced, another request's call; miss, a call.",
            ("result",),
            registry=registry,
        )
        self.cache: Mapping[CacheResult, Counter] = {
            result: self.cache_requests.labels(result) for result in get_args(CacheResult)
        }
        self.pairs = Counter(
            "conviction_ab_pairs_total",
            "Questions that both backends were asked, by the actions they gave, or error.",
            ("mistral_action", "gpt4_action"),
            registry=registry,
        )
        for actions in product((*ACTIONS, ERROR), repeat=2):
            self.pairs.labels(*actions)
        self.limited = Counter(
            "conviction_limited_total",
            "Requests refused for a limit, by whose it is and which; gateway: its processor's.",
            ("scope", "reason"),
            registry=registry,
        )
        for limit in product(SCOPES, REASONS):
            self.limited.labels(*limit)
        self.outpaced = self.limited.labels("gateway", "processor")
        self.shadow_copies = Counter(
            "conviction_shadow_copies_total",
            "Answers to be copied to the other backend: stored as a pair, shed for load, refused for a limit, or lost.",
            ("result",),
            registry=registry,
        )
        self.shadow: Mapping[ShadowResult, Counter] = {
            result: self.shadow_copies.labels(result) for result in get_args(ShadowResult)
        }
        self.queue_depth = self._gauge("queue_depth", "Calls that wait for their turn.", "backend")
        self.breaker_state = self._gauge(
            "breaker_state", "1 for the state that calls find the backend's best server in.", "backend", "state"
        )
        self.budget_used = self._gauge("budget_used_usd", "USD charged today, by UTC.", "backend")
        self.budget_limit = self._gauge("budget_limit_usd", "USD a day that the settings allow.", "backend")
        self.unparsed = Counter(
            "conviction_unparsed_attempts_total",
            "Calls whose text was no valid answer, those that a second call made good included.",
            ("backend",),
            registry=registry,
        )
        self.store_errors = Counter(
            "conviction_store_errors_total",
            "Writes that the store did not take.",
            ("store",),
            registry=registry,
        )
        for store in STORES:
            self.store_errors.labels(store)
        self.of: Mapping[BackendName, BackendMeters] = {name: BackendMeters(self, name) for name in BACKEND_NAMES}
        self._outcomes: dict[tuple[str, str, str], Counter] = {
            (backend, detail, outcome): self.requests.labels(backend, detail, outcome)
            for backend, detail, outcome in product(
                BACKEND_NAMES, get_args(Detail), (OK, *(failure.code for failure in FAILURES))
            )
        }

    @contextmanager
    def request(self, asked: RequestObservation) -> Iterator[None]:
        """Counts one request by how it ends, under what has become known of it by then."""
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
            if outcome != OK or not asked.handed_on:
                self._count(asked.backend, asked.detail, outcome)

    def hand_over(self, asked: RequestObservation, error: ConvictionError, to: BackendName) -> None:
        """Counts how a request ended at a backend; from here on it is another's."""
        self._count(asked.backend, asked.detail, error.code)
        asked.failed, asked.backend = asked.backend, to

    def _count(self, backend: BackendName | None, detail: str | None, outcome: str) -> None:
        labels = (backend or UNKNOWN, detail or UNKNOWN, outcome)
        (self._outcomes.get(labels) or self.requests.labels(*labels)).inc()

    def pair(self, actions: Mapping[BackendName, Action | None]) -> None:
        """Counts a question that both were asked."""
        self.pairs.labels(*(actions[name] or ERROR for name in BACKEND_NAMES)).inc()

    def page(self) -> bytes:
        """The text Prometheus reads."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"conviction_{name}", documentation, labels, registry=self.registry)

    def _seconds(self, name: str, documentation: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"conviction_{name}_seconds", documentation, ("backend",), registry=self.registry, buckets=buckets
        )
