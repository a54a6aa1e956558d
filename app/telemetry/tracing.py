"""OpenTelemetry traces: one span for each request, and one for each of its steps that waits for something outside.

A step of a request that is not traced gets the API's no-op span. Attributes follow OpenTelemetry's semantic conventions
or start with `conviction.`; none holds a key, a ticker, a prompt or a text of a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app import __version__
from app.contract.completion import NO_USAGE, BackendName, Usage
from app.errors import ConvictionError, InvalidSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

Attributes = Mapping[str, str | int]

PROVIDERS: Mapping[BackendName, str] = {"mistral": "vllm", "gpt-4": "openai"}
SERVICE = "conviction"
"""The service name where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES sets one."""
FLUSH_TIMEOUT_S = 2.0
"""The longest that a shutdown waits for the collector to take the remaining spans."""

_tracer = trace.get_tracer(SERVICE, __version__)
_w3c = TraceContextTextMapPropagator()


def step_span(name: str, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL) -> AbstractContextManager[Span]:
    """Open a span for a step of the current request."""
    if not trace.get_current_span().get_span_context().is_valid:
        return INVALID_SPAN  # cheaper than a no-op tracer: docs/decisions/tracing.md
    return _open_span(name, kind, attributes, context.get_current())


def request_span(name: str, attributes: Attributes, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
    """Open the span of a request, a child of the span that its W3C headers name."""
    return _open_span(name, SpanKind.SERVER, attributes, _w3c.extract(headers))


def generation_span(backend: BackendName) -> AbstractContextManager[Span]:
    """Open the span of a model's call, retries included."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS[backend],
        "conviction.backend": backend,
        "conviction.source": "model",
    }
    return step_span("chat", attributes, SpanKind.CLIENT)


def usage_attributes(model: str, usage: Usage) -> Attributes:
    """Return the requested model and the tokens of a call; nothing if the call was not sent."""
    if usage == NO_USAGE:
        return {}
    return {
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "conviction.usage_estimated": usage.estimated,
    }


def record_error(span: Span, error_type: str, *, failed: bool) -> None:
    """Record an error by its type alone: a message may quote a prompt or a key."""
    span.set_attribute("error.type", error_type)
    if failed:
        span.set_status(StatusCode.ERROR)


def trace_headers() -> dict[str, str] | None:
    """Return the W3C headers of the current span for an upstream request; None if nothing is traced."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier or None


def trace_id() -> str | None:
    """Return the current trace's id, 32 hexadecimal digits."""
    span_context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span_context.trace_id) if span_context.is_valid else None


@contextmanager
def _open_span(name: str, kind: SpanKind, attributes: Attributes, parent: Context) -> Iterator[Span]:
    """Start a span, make it current within the block and end it with the block."""
    span = _tracer.start_span(name, parent, kind, attributes)
    outer = context.get_current()
    context.attach(trace.set_span_in_context(span, parent))
    try:
        yield span
    except ConvictionError as error:
        record_error(span, error.code, failed=error.status >= 500)
        raise
    except BaseException as error:
        record_error(span, type(error).__qualname__, failed=isinstance(error, Exception))
        raise
    finally:
        context.attach(outer)  # not detach(): a stream may be closed in another context than the one it was opened in
        span.end()


class TraceExporter:
    """The process's tracer provider and its OTLP exporter; the SDK reads its own variables. Create one per process."""

    def __init__(self) -> None:
        """Raise `InvalidSettings` if the SDK is not installed or rejects its variables."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError:
            raise InvalidSettings(
                "OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT turns traces on, but packages for them are not "
                "installed: pip install 'conviction[tracing]', or set OTEL_TRACES_EXPORTER=none"
            ) from None
        try:
            self._exporter = OTLPSpanExporter()
            self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        except (ValueError, OSError):  # its message may quote a header, which holds a key
            raise InvalidSettings("OpenTelemetry's SDK rejects the value of an OTEL_ variable") from None
        trace.set_tracer_provider(self._provider)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export spans in batches from a thread; at the end flush the rest for at most `FLUSH_TIMEOUT_S`."""
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        try:
            yield
        finally:
            shutdown = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
            await asyncio.wait((shutdown,), timeout=FLUSH_TIMEOUT_S)
            if not shutdown.done():
                # Ends the retries at an unreachable collector.
                self._exporter.shutdown()  # type: ignore[no-untyped-call]
            await shutdown


def _resource() -> Resource:
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        return resource.merge(Resource({"service.name": SERVICE}))
    return resource
