"""OpenTelemetry traces: one span for each request, and one for each of its steps that waits for something outside.

A step of a request that is not traced gets the API's no-op span. Attributes follow OpenTelemetry's semantic conventions
or start with `conviction.`; none holds a key, a ticker, a prompt or a text of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app import __version__
from app.errors import ConvictionError

Attributes = Mapping[str, str | int]

SERVICE = "conviction"
"""The service name where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES sets one."""

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


def error_type(error: BaseException) -> str:
    """Return an error's code, or the name of its class."""
    return error.code if isinstance(error, ConvictionError) else type(error).__qualname__


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
        record_error(span, error_type(error), failed=error.status >= 500)
        raise
    except BaseException as error:
        record_error(span, error_type(error), failed=isinstance(error, Exception))
        raise
    finally:
        context.attach(outer)  # not detach(): a stream may be closed in another context than the one it was opened in
        span.end()
