"""An upstream: its limits and meters from the settings, and the estimate of its calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.upstream import TEMPLATE_TOKENS, Upstream, open_upstream
from app.contract.completion import ALL_BACKENDS, BackendName, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.manifest import current, parse
from app.contract.prompt import messages
from app.pricing.limits import Limits
from app.settings.gateway import Settings
from app.telemetry.metrics import Collectors
from tests.doubles import PRICES, CountingBackend, calibrated_store, completion

LIMITS = {
    "mistral_requests_per_minute": 10,
    "mistral_tokens_per_minute": 2000,
    "mistral_usd_per_day": "0.000000001",
    "gpt4_requests_per_minute": 7,
    "gpt4_usd_per_day": "12.5",
}


def upstream(name: BackendName, collectors: Collectors | None = None, **settings: Any) -> Upstream:
    backend = CountingBackend(name)
    return open_upstream(backend, PRICES[name], Settings.model_validate(settings), collectors or Collectors())


def test_each_backend_has_the_limits_of_its_own_settings() -> None:
    mistral, gpt4 = upstream("mistral", **LIMITS), upstream("gpt-4", **LIMITS)
    assert (mistral.scope.name, mistral.scope.limits) == ("backend:mistral", Limits(10, 2000, 1))
    assert (gpt4.scope.name, gpt4.scope.limits) == ("backend:gpt-4", Limits(7, None, 12_500_000_000))
    assert upstream("gpt-4").scope.limits == Limits()
    candidate = open_upstream(
        CountingBackend("candidate"), PRICES["mistral"], Settings.model_validate(LIMITS), Collectors(ALL_BACKENDS)
    )
    assert (candidate.scope.name, candidate.scope.limits) == ("backend:candidate", mistral.scope.limits)


def test_the_breaker_s_state_is_exported() -> None:
    collectors, backend = Collectors(), CountingBackend("gpt-4")
    open_upstream(backend, None, Settings(), collectors)

    def exported() -> dict[str, float | None]:
        return {
            state: collectors.registry.get_sample_value(
                "conviction_breaker_state", {"backend": "gpt-4", "state": state}
            )
            for state in ("closed", "half_open", "open")
        }

    assert exported() == {"closed": 1, "half_open": 0, "open": 0}
    backend.breaker = "open"
    assert exported() == {"closed": 0, "half_open": 0, "open": 1}


async def test_the_queue_has_the_configured_size_and_is_exported() -> None:
    collectors = Collectors()
    narrow = upstream("gpt-4", collectors, gpt4_max_concurrency=1, gpt4_queue_size=5)
    async with narrow.concurrency.acquire():
        waiting = asyncio.ensure_future(narrow.concurrency.acquire().__aenter__())
        await asyncio.sleep(0)
        assert collectors.registry.get_sample_value("conviction_queue_depth", {"backend": "gpt-4"}) == 1
        waiting.cancel()
        await asyncio.wait((waiting,))


@given(st.text(min_size=1, max_size=300), st.integers(1, 2000), st.integers(1, 3))
def test_the_estimate_is_a_token_for_every_byte(text: str, answer: int, calls: int) -> None:
    opened = upstream("gpt-4")
    most = opened.max_estimate([{"role": "user", "content": text}], answer, calls)
    usage = Usage(len(text.encode()), answer)
    assert most.tokens >= calls * (usage.prompt_tokens + usage.completion_tokens)
    assert most.nano_usd >= calls * (opened.cost(usage).nano_usd - 1)
    assert most.tokens == calls * (len(text.encode()) + TEMPLATE_TOKENS + answer)


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
def test_a_backend_without_a_price_is_estimated_at_zero(name: BackendName) -> None:
    opened = open_upstream(CountingBackend(name), None, Settings(), Collectors())
    assert opened.max_estimate(messages(EXAMPLE, "SNPS", "brief"), 64, 2).nano_usd == 0


FITTED = {"temperature": 2.0, "bias": {"buy": 0.0, "sell": 0.0, "hold": 0.0}}


def test_the_published_calibration_is_of_its_own_model_and_detail(tmp_path: Path) -> None:
    store = calibrated_store(tmp_path, {"brief": FITTED})
    published, other = completion("", model=parse(current(store)).model_id), completion("", model="other")
    mistral, gpt4 = upstream("mistral", model_store=store), upstream("gpt-4", model_store=store)
    found = mistral.calibration(published, "brief")
    assert found is not None
    assert found.model_dump() == FITTED
    assert mistral.calibration(published, "full") is None
    assert mistral.calibration(other, "brief") is None
    assert gpt4.calibration(published, "brief") is None


def test_without_a_published_calibration_there_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert upstream("mistral", model_store=tmp_path).calibrations == {}
    assert "the probabilities of mistral are not calibrated" in caplog.text
    assert upstream("mistral", model_store=calibrated_store(tmp_path, None)).calibrations == {}
