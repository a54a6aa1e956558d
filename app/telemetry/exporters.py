"""Exporters of traces and metrics over OTLP, in threads. OpenTelemetry's SDK is imported only where one is created."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from app import __version__
from app.errors import InvalidSettings
from app.telemetry.tracing import SERVICE

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

FLUSH_TIMEOUT_S = 2.0
"""The longest that a shutdown waits for the collector to take what remains."""


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
            raise _rejected() from None
        trace.set_tracer_provider(self._provider)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export spans in batches; at the end flush the rest for at most `FLUSH_TIMEOUT_S`."""
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        try:
            yield
        finally:
            await _stop(self._provider.shutdown, self._exporter.shutdown)


class MetricExporter:
    """The process's meter provider and its OTLP exporter; the SDK reads its own variables. Create one per process."""

    def __init__(self) -> None:
        """Raise `InvalidSettings` if the SDK is not installed or rejects its variables."""
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError:
            raise InvalidSettings(
                "OTEL_METRICS_EXPORTER or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT turns OpenTelemetry's metrics on, but "
                "packages for them are not installed: pip install 'conviction[tracing]', or set "
                "OTEL_METRICS_EXPORTER=none"
            ) from None
        try:
            self._exporter = OTLPMetricExporter()
            self._resource = _resource()
        except (ValueError, OSError):
            raise _rejected() from None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export metrics each OTEL_METRIC_EXPORT_INTERVAL; at the end flush them for at most `FLUSH_TIMEOUT_S`."""
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(self._exporter)
        provider = MeterProvider((reader,), self._resource, shutdown_on_exit=False)
        metrics.set_meter_provider(provider)
        try:
            yield
        finally:
            await _stop(provider.shutdown, self._exporter.shutdown)


async def _stop(shut_down: Callable[[], object], give_up: Callable[[], object]) -> None:
    """Flush in a thread. After `FLUSH_TIMEOUT_S`, `give_up` ends the retries at an unreachable collector."""
    flushed = asyncio.create_task(asyncio.to_thread(shut_down))
    await asyncio.wait((flushed,), timeout=FLUSH_TIMEOUT_S)
    if not flushed.done():
        give_up()
    await flushed


def _rejected() -> InvalidSettings:
    return InvalidSettings("OpenTelemetry's SDK rejects the value of an OTEL_ variable")


def _resource() -> Resource:
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        return resource.merge(Resource({"service.name": SERVICE}))
    return resource
