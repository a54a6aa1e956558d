"""Traces, as a collector receives them from a gateway in a separate process; with traces off, nothing is imported."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.backends.dialects import openai_dialect
from app.cli import main as cli
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.stand_in import create_stand_in
from tests.conftest import STAND_IN_KEY, StandIn, served
from tests.doubles import EXAMPLE_BODY, without
from tests.test_main import Serving, clean_environment, free_port

needs_sdk = pytest.mark.skipif(
    find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None,
    reason="OpenTelemetry's SDK is not installed: pip install 'conviction[tracing]'",
)
TICKER = "MSFT"
REQUEST = {"ticker": TICKER, "detail": "full"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT_KEY = "a-key-of-the-client-s"
TIMEOUT_S = 30.0
OFF = """
import sys
from app.main import create_app
from app.settings.gateway import load_settings
create_app(load_settings())
print(*{"opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto"} & set(sys.modules))
"""
"""Not the whole SDK: redis imports its metrics where they are installed."""


class Collector:
    """A collector of traces over OTLP/HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        assert (request.url.path, request.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.bodies.append(await request.body())
        await Response(media_type="application/x-protobuf")(scope, receive, send)

    def spans(self, trace: str) -> list[dict[str, Any]]:
        """Return the received spans of a trace, flattened."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
                for of_scope in resource.scope_spans:
                    assert (service, of_scope.scope.name) == ("conviction", "conviction")
                    found += [_flat(span) for span in of_scope.spans if span.trace_id.hex() == trace]
        return found

    def wait(self, trace: str, complete: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + TIMEOUT_S
        while not complete(spans := self.spans(trace)):
            assert time.monotonic() < deadline, spans
            time.sleep(0.02)
        return spans


class Upstream:
    """A stand-in for the models that records the W3C headers of its requests."""

    def __init__(self) -> None:
        self.parents: list[str | None] = []
        self._stand_in: ASGIApp = create_stand_in(key=STAND_IN_KEY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/chat/completions"):
            self.parents.append(Request(scope).headers.get("traceparent"))
        await self._stand_in(scope, receive, send)


def _flat(span: Any) -> dict[str, Any]:
    values = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
    assert not span.events, "an exception's message may quote a secret"
    return {
        "name": span.name,
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "kind": span.kind,
        "failed": span.status.code == 2,
        "message": span.status.message,
        **values,
    }


def parent(trace: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-{flags}", "X-API-Key": CLIENT_KEY}


def complete(spans: list[dict[str, Any]]) -> bool:
    """Return whether the request's own span, the last to end, has arrived."""
    return any(span["parent"] == PARENT for span in spans)


def by_name(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert len({span["name"] for span in spans}) == len(spans), spans
    return {span["name"]: span for span in spans}


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    collector = Collector()
    with served(collector) as origin:
        yield collector, origin


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[Upstream, StandIn]]:
    upstream = Upstream()
    with served(upstream) as origin:
        yield upstream, StandIn(origin, STAND_IN_KEY)


def serving(folder: Path, upstream: StandIn, collector: str, **environment: str) -> Serving:
    return Serving(
        folder,
        CONVICTION_VLLM_URLS=upstream.url,
        OPENAI_BASE_URL=upstream.url,
        OPENAI_API_KEY=upstream.key,
        CONVICTION_HOSTING_USD_PER_HOUR="0.10",
        CONVICTION_CAPACITY_TOKENS_PER_HOUR="100000",
        CONVICTION_DRAIN_S="0.2",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector,
        **environment,
    )


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, collector: tuple[Collector, str], upstream: tuple[Upstream, StandIn]
) -> Iterator[Serving]:
    fast_export, fastapi_telemetry = {"OTEL_BSP_SCHEDULE_DELAY": "50"}, {"FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
    serving_ = serving(tmp_path_factory.mktemp("traced"), upstream[1], collector[1], **fast_export, **fastapi_telemetry)
    with serving_.up(stop_s=20):
        yield serving_


@needs_sdk
@pytest.mark.parametrize(("backend", "provider"), [("mistral", "vllm"), ("gpt-4", "openai")])
def test_a_request_and_its_steps_are_spans_of_the_client_s_trace(
    traced: Serving,
    collector: tuple[Collector, str],
    upstream: tuple[Upstream, StandIn],
    backend: str,
    provider: str,
) -> None:
    trace = TRACE[:-1] + ("1" if backend == "mistral" else "2")
    headers = {"X-Backend": backend, **parent(trace)}
    status, answer = traced.ask("POST", "/v1/recommendations", REQUEST, **headers)
    assert status == 200, answer
    document = json.loads(answer)
    spans = by_name(collector[0].wait(trace, complete))
    assert set(spans) == {"POST /v1/recommendations", "market", "admission", "chat"}
    own, market, admission, chat = (spans[name] for name in ("POST /v1/recommendations", "market", "admission", "chat"))
    assert (own["parent"], own["kind"], own["failed"]) == (PARENT, 2, False)
    assert (own["http.route"], own["http.response.status_code"]) == ("/v1/recommendations", 200)
    assert own["conviction.backend"] == backend
    assert {market["parent"], admission["parent"], chat["parent"]} == {own["id"]}
    assert (admission["conviction.backend"], admission["conviction.source"]) == (backend, "model")
    assert (chat["kind"], chat["gen_ai.operation.name"], chat["gen_ai.provider.name"]) == (3, "chat", provider)
    assert (chat["conviction.backend"], chat["conviction.source"]) == (backend, "model")
    assert document["model"].removeprefix("stand-in/") == chat["gen_ai.request.model"].removeprefix("stand-in/")
    assert chat["gen_ai.response.model"] == document["model"]
    usage = document["usage"]
    assert chat["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert chat["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert upstream[0].parents[-1] == f"00-{trace}-{chat['id']}-01"
    assert trace in [json.loads(line).get("trace_id") for line in traced.log.read_text().splitlines()]

    again = trace[:-1] + ("3" if backend == "mistral" else "4")
    assert traced.ask("POST", "/v1/recommendations", REQUEST, **{"X-Backend": backend, **parent(again)})[0] == 200
    spans = by_name(collector[0].wait(again, complete))
    assert spans["admission"]["conviction.source"] == "cache"
    assert "chat" not in spans


@needs_sdk
@pytest.mark.parametrize("stream", [False, True])
def test_chat_completions_and_streams_are_traced(
    traced: Serving, collector: tuple[Collector, str], upstream: tuple[Upstream, StandIn], stream: bool
) -> None:
    trace = TRACE[:-1] + ("5" if stream else "6")
    alone = {"Cache-Control": "no-store", **parent(trace)}
    assert traced.ask("POST", "/v1/recommendations", {**REQUEST, "stream": stream}, **alone)[0] == 200
    spans = by_name(collector[0].wait(trace, complete))
    assert spans["chat"]["parent"] == spans["POST /v1/recommendations"]["id"]

    trace = TRACE[:-1] + ("7" if stream else "8")
    body = openai_dialect("gpt-4.1").request("gpt-4", messages(EXAMPLE, TICKER, "brief"), "brief")
    body = body if stream else without(["stream", "stream_options"], body)
    status, answer = traced.ask("POST", "/v1/chat/completions", body, **parent(trace))
    assert status == 200, answer
    spans = by_name(collector[0].wait(trace, complete))
    assert spans["chat"]["gen_ai.usage.output_tokens"] > 0
    assert upstream[0].parents[-1] == f"00-{trace}-{spans['chat']['id']}-01"


@needs_sdk
def test_a_failure_is_recorded_by_its_type_alone(
    traced: Serving, collector: tuple[Collector, str], upstream: tuple[Upstream, StandIn]
) -> None:
    trace = TRACE[:-1] + "9"
    upstream[1].fail("500", times=3)
    alone = {"Cache-Control": "no-store", **parent(trace)}
    status, answer = traced.ask("POST", "/v1/recommendations", EXAMPLE_BODY, **alone)
    assert status >= 500
    spans = by_name(collector[0].wait(trace, complete))
    assert (spans["chat"]["error.type"], spans["chat"]["failed"]) == (json.loads(answer)["code"], True)
    own = spans["POST /v1/recommendations"]
    assert (own["error.type"], own["failed"]) == (str(status), True)
    assert {span["message"] for span in spans.values()} == {""}


@needs_sdk
def test_a_client_error_is_no_failure_and_an_unknown_method_is_not_repeated(
    traced: Serving, collector: tuple[Collector, str]
) -> None:
    trace = TRACE[:-1] + "a"
    assert traced.ask("PROPFIND", f"/v1/{TICKER}", **parent(trace))[0] == 404
    (own,) = collector[0].wait(trace, complete)
    assert (own["name"], own["http.request.method"], own["failed"]) == ("_OTHER", "_OTHER", False)


@needs_sdk
def test_unsampled_requests_and_probes_are_not_traced(
    traced: Serving, collector: tuple[Collector, str], upstream: tuple[Upstream, StandIn]
) -> None:
    unsampled, quiet, last = (TRACE[:-1] + digit for digit in "bcd")
    alone = {"Cache-Control": "no-store", **parent(unsampled, "00")}
    assert traced.ask("POST", "/v1/recommendations", REQUEST, **alone)[0] == 200
    forwarded = upstream[0].parents[-1]
    assert forwarded is not None and forwarded.startswith(f"00-{unsampled}-") and forwarded.endswith("-00")
    for path in ("/health/live", "/health/ready", "/metrics"):
        traced.ask("GET", path, **parent(quiet))
    assert traced.ask("GET", "/v1/backends", **parent(last))[0] == 200
    collector[0].wait(last, complete)
    assert not collector[0].spans(unsampled) + collector[0].spans(quiet)


@needs_sdk
def test_a_trace_holds_no_key_ticker_or_text(traced: Serving, collector: tuple[Collector, str]) -> None:
    trace = TRACE[:-1] + "e"
    alone = {"Cache-Control": "no-store", **parent(trace)}
    status, answer = traced.ask("POST", "/v1/recommendations", REQUEST, **alone)
    assert status == 200
    collector[0].wait(trace, complete)
    text = json.loads(answer)["analysis"].encode()
    for secret in (TICKER.encode(), STAND_IN_KEY.encode(), CLIENT_KEY.encode(), text[:20], b"RSI", b"volatility"):
        assert not any(secret in body for body in collector[0].bodies), secret


@needs_sdk
def test_remaining_spans_are_flushed_at_shutdown(
    tmp_path: Path, collector: tuple[Collector, str], upstream: tuple[Upstream, StandIn]
) -> None:
    trace = TRACE[:-1] + "f"
    gateway = serving(tmp_path, upstream[1], collector[1], OTEL_BSP_SCHEDULE_DELAY="600000")
    try:
        gateway.wait()
        assert gateway.ask("POST", "/v1/recommendations", EXAMPLE_BODY, **parent(trace))[0] == 200
        assert not collector[0].spans(trace)
    finally:
        gateway.process.terminate()
    assert gateway.process.wait(TIMEOUT_S) == 0
    assert complete(collector[0].spans(trace))


@needs_sdk
def test_an_unreachable_collector_delays_no_answer_and_no_shutdown(
    tmp_path: Path, upstream: tuple[Upstream, StandIn]
) -> None:
    gateway = serving(tmp_path, upstream[1], f"http://127.0.0.1:{free_port()}", OTEL_EXPORTER_OTLP_TIMEOUT="600")
    try:
        gateway.wait()
        assert gateway.ask("POST", "/v1/recommendations", EXAMPLE_BODY)[0] == 200
    finally:
        gateway.process.terminate()
    assert gateway.process.wait(TIMEOUT_S) == 0
    assert "opentelemetry" in gateway.log.read_text()


@needs_sdk
def test_without_traces_and_metrics_the_sdk_is_not_imported() -> None:
    for given, imported in (
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
    ):
        environment = clean_environment(**given) | {"PYTHONPATH": ":".join(sys.path)}
        process = subprocess.run(
            [sys.executable, "-c", OFF], env=environment, capture_output=True, text=True, check=True
        )
        assert bool(process.stdout.strip()) is imported, process.stdout


def test_traces_without_their_packages_are_a_startup_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    assert cli.main(["serve"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("conviction: OTEL_TRACES_EXPORTER") and message.count("\n") == 1
    assert "conviction[tracing]" in message
