"""Calls of models by OpenTelemetry's conventions for generative AI: a span of a traced request's call, and two metrics.

Without an exporter the metrics are the API's no-op instruments. Their attributes are names from the settings and the
models' own, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from opentelemetry import metrics
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from app import __version__
from app.contract.completion import NO_USAGE, BackendName, Usage
from app.telemetry.tracing import SERVICE, error_type, step_span

PROVIDERS: Mapping[BackendName, str] = {"mistral": "vllm", "gpt-4": "openai", "candidate": "vllm"}

SECONDS = tuple(0.01 * 2**power for power in range(14))
TOKENS = tuple(4**power for power in range(14))
"""Upper bounds of buckets, as the conventions recommend."""

_meter = metrics.get_meter(SERVICE, __version__)
_duration = _meter.create_histogram(
    "gen_ai.client.operation.duration", "s", "Time of a model's call.", explicit_bucket_boundaries_advisory=SECONDS
)
_tokens = _meter.create_histogram(
    "gen_ai.client.token.usage", "{token}", "Tokens of a model's call.", explicit_bucket_boundaries_advisory=TOKENS
)


class Generation:
    """A model's call in progress. What its span and the metrics state is set as it becomes known."""

    def __init__(self, backend: BackendName) -> None:
        self.span: Span = INVALID_SPAN
        self.labels = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": PROVIDERS[backend]}
        self._usage = NO_USAGE

    def sent(self, model: str, usage: Usage) -> None:
        """Record the requested model and the tokens used; nothing if the call was not sent."""
        if usage == NO_USAGE:
            return
        self._usage, self.labels["gen_ai.request.model"] = usage, model
        self.span.set_attributes(
            {
                "gen_ai.request.model": model,
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "conviction.usage_estimated": usage.estimated,
            }
        )

    def answered(self, model: str) -> None:
        """Record the model that the server named in its answer."""
        self.labels["gen_ai.response.model"] = model
        self.span.set_attribute("gen_ai.response.model", model)

    def measure(self, seconds: float) -> None:
        """Add the call to the metrics: the tokens only as the server counted them."""
        _duration.record(seconds, self.labels)
        if self._usage != NO_USAGE and not self._usage.estimated:
            _tokens.record(self._usage.prompt_tokens, self.labels | {"gen_ai.token.type": "input"})
            _tokens.record(self._usage.completion_tokens, self.labels | {"gen_ai.token.type": "output"})


@contextmanager
def generation(backend: BackendName) -> Iterator[Generation]:
    """Trace and measure a model's call, retries included."""
    call, began = Generation(backend), perf_counter()
    attributes = {**call.labels, "conviction.backend": backend, "conviction.source": "model"}
    try:
        with step_span("chat", attributes, SpanKind.CLIENT) as call.span:
            yield call
    except BaseException as error:
        call.labels["error.type"] = error_type(error)
        raise
    finally:
        call.measure(perf_counter() - began)
