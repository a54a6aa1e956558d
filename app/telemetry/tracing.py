"""Traces by OpenTelemetry: a span a request, and one for each step that waits for somebody else.

A step belongs to the request that it is taken for, and is traced if that is. Where nothing is traced, what traces is
not even imported, and a step costs a look at a context variable. Attributes are of OpenTelemetry's conventions
or begin with `conviction.`; none holds a key, a ticker, a prompt or a text of a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal, Self

from app import __version__
from app.contract.completion import NOTHING, BackendName, Usage
from app.errors import ConvictionError, InvalidSettings

Kind = Literal["server", "internal", "client"]
Attributes = Mapping[str, str | int]

PROVIDERS: Mapping[BackendName, str] = {"mistral": "vllm", "gpt-4": "openai"}
SERVICE = "conviction"
"""What spans are said to be of, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise."""
FLUSH_S = 2.0
"""For so long a stop waits until the last spans have been taken."""
PARENT = ("traceparent", "tracestate")
"""W3C's headers."""


class Step:
    """A step under way, as a context. Of one that is not traced, nothing is kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""


UNTRACED = Step()


class Span(Step):
    """A step that is traced; steps that are taken within it are its children."""

    def __init__(self, tracer: Tracer, span: Any, context: Any) -> None:
        self._tracer, self._span = tracer, span
        self._context = tracer.api.set_span_in_context(span, context)
        self._outer: Span | None = None

    def __enter__(self) -> Self:
        self._outer = _present.get()
        _present.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _present.set(self._outer)
        if kind is not None:
            known = error if isinstance(error, ConvictionError) else None
            told = known.code if known else kind.__qualname__
            self.failed(told, blamed=known.status >= 500 if known else isinstance(error, Exception))
        self._span.end()

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def failed(self, error: str, *, blamed: bool) -> None:
        """Note how it failed: by its kind alone, since a message may quote what nobody is to read."""
        self._span.set_attribute("error.type", error)
        if blamed:
            self._span.set_status(self._tracer.api.StatusCode.ERROR)

    def child(self, name: str, kind: Kind, attributes: Attributes) -> Span:
        return self._tracer.begin(name, kind, attributes, self._context)

    def headers(self) -> dict[str, str]:
        """What tells a server whose child its spans are."""
        carrier: dict[str, str] = {}
        self._tracer.propagator.inject(carrier, self._context)
        return carrier

    @property
    def trace_id(self) -> str:
        return format(self._span.get_span_context().trace_id, "032x")


_present: ContextVar[Span | None] = ContextVar("span", default=None)


def step(name: str, attributes: Attributes, kind: Kind = "internal") -> Step:
    """A step of the request that is being answered."""
    within = _present.get()
    return UNTRACED if within is None else within.child(name, kind, attributes)


def generation(backend: BackendName) -> Step:
    """The call of a model, all that is tried for it included."""
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS[backend],
        "conviction.backend": backend,
        "conviction.source": "model",
    }
    return step("chat", told, "client")


def used(model: str, usage: Usage) -> Attributes:
    """What a call asked for and took; nothing of one that was not sent."""
    if usage == NOTHING:
        return {}
    return {
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "conviction.usage_estimated": usage.estimated,
    }


def headers() -> dict[str, str] | None:
    """W3C's headers for a call made within the present step; None where that is not traced."""
    within = _present.get()
    return None if within is None else within.headers()


def trace_id() -> str | None:
    """The trace that is being written, for the log."""
    within = _present.get()
    return None if within is None else within.trace_id


class Tracer:
    """Makes spans and sends them to a collector. Where and how is read by the SDK, from its own variables."""

    def __init__(self) -> None:
        """Raises `InvalidSettings` where the SDK is not installed, or cannot use its variables."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise InvalidSettings(
                "OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, and they need packages that are "
                "not installed: pip install 'conviction[tracing]', or set OTEL_TRACES_EXPORTER=none"
            ) from None
        self.api, self.propagator = trace, TraceContextTextMapPropagator()
        try:
            self._exporter = OTLPSpanExporter()
            self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        except (ValueError, OSError):  # its message may quote a header, which holds a key
            raise InvalidSettings("OTEL_...: one of OpenTelemetry's variables cannot be used") from None
        self._tracer = self._provider.get_tracer(SERVICE, __version__)

    def request(self, name: str, attributes: Attributes, headers: Mapping[str, str]) -> Span:
        """The span of a request: a child of the client's, if its headers name one."""
        carrier = {header: headers[header] for header in PARENT if header in headers}
        return self.begin(name, "server", attributes, self.propagator.extract(carrier))

    def begin(self, name: str, kind: Kind, attributes: Attributes, context: Any) -> Span:
        """A span within a context of OpenTelemetry's."""
        kinds = self.api.SpanKind
        span = self._tracer.start_span(name, context, kinds[kind.upper()], attributes)
        return Span(self, span, context)

    @asynccontextmanager
    async def exporting(self) -> AsyncIterator[None]:
        """Send spans, in batches and from a thread; at the end what is left, if the collector takes it soon."""
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        try:
            yield
        finally:
            closing = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
            await asyncio.wait((closing,), timeout=FLUSH_S)
            if not closing.done():
                self._exporter.shutdown()  # no more waiting for a collector that is away
            await closing


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    own = Resource.create({"service.version": __version__})
    named = not str(own.attributes["service.name"]).startswith("unknown_service")
    return own if named else own.merge(Resource({"service.name": SERVICE}))
