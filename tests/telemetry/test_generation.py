"""OpenTelemetry's metrics of models' calls, as a collector receives them from a gateway in a separate process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.cli import main as cli
from app.telemetry.generation import SECONDS, TOKENS
from tests.conftest import StandIn, served
from tests.doubles import EXAMPLE_BODY
from tests.telemetry.test_tracing import TICKER, TIMEOUT_S, needs_sdk
from tests.test_main import Serving

KEY = "a-key-of-the-client-s"
PROVIDERS = {"mistral": "vllm", "gpt-4": "openai"}
Point = tuple[int, float, list[float]]
"""Count, sum and bounds of a histogram's series."""


class Collector:
    """A collector of metrics over OTLP/HTTP, which keeps the latest values."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        assert (request.url.path, request.headers["content-type"]) == ("/v1/metrics", "application/x-protobuf")
        self.bodies.append(await request.body())
        await Response(media_type="application/x-protobuf")(scope, receive, send)

    def points(self, name: str) -> dict[frozenset[tuple[str, str]], Point]:
        """Return a metric's series by their attributes."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        found: dict[frozenset[tuple[str, str]], Point] = {}
        for body in self.bodies:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                assert {of_scope.scope.name for of_scope in resource.scope_metrics} == {"conviction"}
                for metric in (each for of_scope in resource.scope_metrics for each in of_scope.metrics):
                    for point in metric.histogram.data_points if metric.name == name else ():
                        labels = frozenset((each.key, each.value.string_value) for each in point.attributes)
                        found[labels] = (point.count, point.sum, list(point.explicit_bounds))
        return found

    def wait(self, name: str, calls: int) -> dict[frozenset[tuple[str, str]], Point]:
        """Return the series once they hold a number of calls."""
        ends = time.monotonic() + TIMEOUT_S
        points = self.points(name)
        while sum(count for count, _, _ in points.values()) < calls:
            assert time.monotonic() < ends, points
            time.sleep(0.02)
            points = self.points(name)
        return points


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, stand_in_server: StandIn) -> Iterator[tuple[Serving, Collector]]:
    collector = Collector()
    with served(collector) as origin:
        serving = Serving(
            tmp_path_factory.mktemp("measured"),
            CONVICTION_VLLM_URLS=stand_in_server.url,
            OPENAI_BASE_URL=stand_in_server.url,
            OPENAI_API_KEY=stand_in_server.key,
            CONVICTION_HOSTING_USD_PER_HOUR="0.10",
            CONVICTION_CAPACITY_TOKENS_PER_HOUR="100000",
            CONVICTION_DRAIN_S="0.2",
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{origin}/v1/metrics",
            OTEL_METRIC_EXPORT_INTERVAL="100",
        )
        with serving.up(stop_s=20):
            yield serving, collector


@needs_sdk
def test_calls_are_measured_by_the_conventions(measured: tuple[Serving, Collector], stand_in: StandIn) -> None:
    serving, collector = measured
    expected = {}
    for backend, provider in PROVIDERS.items():
        headers = {"X-Backend": backend, "X-API-Key": KEY}
        status, answer = serving.ask("POST", "/v1/recommendations", {"ticker": TICKER, "detail": "full"}, **headers)
        assert status == 200, answer
        document = json.loads(answer)
        expected[provider] = document["usage"] | {"model": document["model"]}
    durations = collector.wait("gen_ai.client.operation.duration", 2)
    tokens = collector.wait("gen_ai.client.token.usage", 4)
    for labels, (count, seconds, bounds) in durations.items():
        known = dict(labels)
        assert (known["gen_ai.operation.name"], count) == ("chat", 1)
        assert known["gen_ai.response.model"] == expected[known["gen_ai.provider.name"]]["model"]
        assert known["gen_ai.request.model"] and "error.type" not in known
        assert 0 < seconds < TIMEOUT_S and bounds == list(SECONDS)
    fields = {"input": "prompt_tokens", "output": "completion_tokens"}
    for labels, (count, total, bounds) in tokens.items():
        known = dict(labels)
        assert (count, bounds) == (1, list(TOKENS))
        assert total == expected[known["gen_ai.provider.name"]][fields[known["gen_ai.token.type"]]]

    stand_in.fail("500", times=3)
    status, answer = serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY, **{"Cache-Control": "no-store"})
    assert status >= 500
    durations = collector.wait("gen_ai.client.operation.duration", 3)
    [failed] = [dict(labels) for labels in durations if "error.type" in dict(labels)]
    assert failed["error.type"] == json.loads(answer)["code"]
    for secret in (TICKER, EXAMPLE_BODY["ticker"], KEY, stand_in.key):
        assert not any(str(secret).encode() in body for body in collector.bodies)


@needs_sdk
def test_remaining_metrics_are_flushed_at_shutdown(tmp_path: Path, stand_in: StandIn) -> None:
    collector = Collector()
    with served(collector) as origin:
        serving = Serving(
            tmp_path,
            CONVICTION_VLLM_URLS=stand_in.url,
            CONVICTION_HOSTING_USD_PER_HOUR="0.10",
            CONVICTION_CAPACITY_TOKENS_PER_HOUR="100000",
            CONVICTION_DRAIN_S="0.2",
            OTEL_EXPORTER_OTLP_ENDPOINT=origin,
            OTEL_TRACES_EXPORTER="none",
            OTEL_METRICS_EXPORTER="otlp",
        )
        with serving.up(stop_s=20):
            assert serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY)[0] == 200
            assert not collector.bodies
        [(count, _, _)] = collector.points("gen_ai.client.operation.duration").values()
        assert count == 1


def test_metrics_without_their_packages_are_a_startup_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    assert cli.main(["serve"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("conviction: OTEL_METRICS_EXPORTER") and message.count("\n") == 1
    assert "conviction[tracing]" in message
