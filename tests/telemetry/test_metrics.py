from __future__ import annotations

import asyncio

import pytest

from app.contract.completion import BACKEND_NAMES
from app.errors import InvalidMetrics
from app.telemetry.metrics import Collectors, RequestObservation


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
