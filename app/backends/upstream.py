"""A backend with its price, its concurrency limit, its rate limits and budget, and its meters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from app.backends.base import BREAKER_STATES, Backend, BreakerState
from app.backends.concurrency_limit import ConcurrencyLimit
from app.contract.calibration import Calibration
from app.contract.completion import CANDIDATE, INCUMBENT, BackendName, Completion, Usage
from app.contract.hardware import Profile
from app.contract.manifest import UnusableModel, current, parse
from app.contract.prompt import Detail, Message
from app.pricing.limits import Estimate, Limits, Scope
from app.pricing.prices import NANO, Cost, Price
from app.settings.gateway import Settings
from app.telemetry.backend_meters import BackendMeters
from app.telemetry.metrics import Collectors

TEMPLATE_TOKENS = 64
"""The most tokens that a chat template adds to a prompt."""

Calibrations = Mapping[tuple[str, Detail], Calibration]
"""Calibrations by the model's id and the answer's detail."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upstream:
    """One backend with what governs its calls. The price is None if the backend is not configured."""

    backend: Backend
    price: Price | None
    concurrency: ConcurrencyLimit
    scope: Scope
    meters: BackendMeters
    profile: Profile | None = None
    """The profile that its servers run the model with, if it is known."""
    calibrations: Calibrations = field(default_factory=dict)

    @property
    def name(self) -> BackendName:
        return self.backend.name

    def calibration(self, completion: Completion, detail: Detail) -> Calibration | None:
        """Return the calibration of a completion's probabilities; None if its model has none."""
        return self.calibrations.get((completion.model, detail))

    def cost(self, usage: Usage) -> Cost:
        """Return the cost of tokens."""
        assert self.price is not None, "a backend without a price is not configured and uses no tokens"
        return self.price.cost(usage)

    def max_estimate(self, prompt: Sequence[Message], answer_tokens: int, calls: int) -> Estimate:
        """Return the most tokens and money that the calls can use: a token holds at least one byte of text."""
        prompt_bytes = sum(len(message["content"].encode()) for message in prompt)
        usage = Usage(calls * (prompt_bytes + TEMPLATE_TOKENS), calls * answer_tokens)
        nano_usd = 0 if self.price is None else self.price.cost(usage).nano_usd
        return Estimate(usage.prompt_tokens + usage.completion_tokens, nano_usd)


def open_upstream(backend: Backend, price: Price | None, settings: Settings, collectors: Collectors) -> Upstream:
    """Build a backend's upstream from the settings, and export its queue, budget and breaker.

    The candidate's settings are the incumbent's, with its own queue and its own count of what is used.
    """
    name = backend.name
    governed_as = INCUMBENT if name == CANDIDATE else name

    def setting(suffix: str) -> Any:
        return getattr(settings, f"{governed_as.replace('-', '')}_{suffix}")

    concurrency, usd = ConcurrencyLimit(setting("max_concurrency"), setting("queue_size")), setting("usd_per_day")
    limits = Limits(
        setting("requests_per_minute"), setting("tokens_per_minute"), None if usd is None else int(usd * NANO)
    )
    collectors.queue_depth.labels(name).set_function(lambda: concurrency.waiting)
    for state in BREAKER_STATES:
        collectors.breaker_state.labels(name, state).set_function(partial(_in_state, backend, state))
    if usd is not None:
        collectors.budget_limit.labels(name).set(float(usd))
    scope, meters = Scope(f"backend:{name}", limits), collectors.by_backend[name]
    if name == "gpt-4":
        return Upstream(backend, price, concurrency, scope, meters)
    profile = settings.vllm_profile if name == INCUMBENT else None
    calibrations = published_calibrations(settings.model_store)
    return Upstream(backend, price, concurrency, scope, meters, profile, calibrations)


def published_calibrations(store: Path) -> Calibrations:
    """Return the calibrations of the current version in a model store; none if there is no version or it has none."""
    try:
        manifest = parse(current(store))
    except UnusableModel as error:
        log.info("the probabilities of mistral are not calibrated: %s", error)
        return {}
    return {(manifest.model_id, detail): found for detail, found in (manifest.calibration or {}).items()}


def _in_state(backend: Backend, state: BreakerState) -> float:
    return float(backend.breaker == state)
