"""A backend and what asking it goes through: its price, its line, its limits and its meters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.backends.base import BREAKER_STATES, Backend, BreakerState
from app.backends.concurrency_limit import ConcurrencyLimit
from app.contract.completion import BackendName, Usage
from app.contract.hardware import Profile
from app.contract.prompt import Message
from app.pricing.limits import Estimate, Limits, Scope
from app.pricing.prices import NANO, Cost, Price
from app.settings.gateway import Settings
from app.telemetry.metrics import BackendMeters, Collectors

TEMPLATE_TOKENS = 64
"""What a chat template may add to a prompt."""


@dataclass(frozen=True)
class Upstream:
    """One backend's. Without a price it is not set up, and says so when it is asked."""

    backend: Backend
    price: Price | None
    gate: ConcurrencyLimit
    scope: Scope
    meters: BackendMeters
    profile: Profile | None = None
    """How its servers run the model, where that is known."""

    @property
    def name(self) -> BackendName:
        return self.backend.name

    def cost(self, usage: Usage) -> Cost:
        """What tokens cost here."""
        assert self.price is not None, "a backend without a price is not set up, and never gets as far as using tokens"
        return self.price.cost(usage)

    def at_most(self, prompt: Sequence[Message], answer_tokens: int, calls: int) -> Estimate:
        """The most that so many calls can take: a token is at least a byte of text."""
        bytes_in = sum(len(message["content"].encode()) for message in prompt)
        usage = Usage(calls * (bytes_in + TEMPLATE_TOKENS), calls * answer_tokens)
        nano_usd = 0 if self.price is None else self.price.cost(usage).nano_usd
        return Estimate(usage.prompt_tokens + usage.completion_tokens, nano_usd)


def open_upstream(backend: Backend, price: Price | None, settings: Settings, collectors: Collectors) -> Upstream:
    """The lane that the settings give a backend, its line, limits and breaker shown by the collectors."""
    name = backend.name

    def given(setting: str) -> Any:
        return getattr(settings, f"{name.replace('-', '')}_{setting}")

    gate, usd = ConcurrencyLimit(given("max_concurrency"), given("queue_size")), given("usd_per_day")
    limits = Limits(given("requests_per_minute"), given("tokens_per_minute"), None if usd is None else int(usd * NANO))
    collectors.queue_depth.labels(name).set_function(lambda: gate.waiting)
    for state in BREAKER_STATES:
        collectors.breaker_state.labels(name, state).set_function(partial(_is, backend, state))
    if usd is not None:
        collectors.budget_limit.labels(name).set(float(usd))
    profile = settings.vllm_profile if name == "mistral" else None
    return Upstream(backend, price, gate, Scope(f"backend:{name}", limits), collectors.by_backend[name], profile)


def _is(backend: Backend, state: BreakerState) -> float:
    return float(backend.breaker == state)
