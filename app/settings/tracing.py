"""Settings that turn OpenTelemetry's signals on. Its SDK reads all its other variables itself."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from app.settings.addresses import require_address
from app.settings.loading import EnvironmentSettings

OTLP = "http/protobuf"


class TracingSettings(EnvironmentSettings):
    otel_sdk_disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    """Turns tracing and OpenTelemetry's metrics off, whatever else is set."""
    otel_traces_exporter: Literal["otlp", "none"] | None = Field(default=None, validation_alias="OTEL_TRACES_EXPORTER")
    """otlp turns tracing on, none turns it off."""
    otel_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT", repr=False)
    """OTLP collector; setting it turns tracing on, but no metrics."""
    otel_traces_endpoint: str | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", repr=False
    )
    """OTLP collector for traces alone; setting it turns tracing on."""
    otel_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    """Must be http/protobuf."""
    otel_traces_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    """Must be http/protobuf."""
    otel_metrics_exporter: Literal["otlp", "none"] | None = Field(
        default=None, validation_alias="OTEL_METRICS_EXPORTER"
    )
    """otlp turns metrics of models' calls on, none turns them off. `/metrics` is not affected."""
    otel_metrics_endpoint: str | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", repr=False
    )
    """OTLP collector for metrics alone; setting it turns them on."""
    otel_metrics_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")
    """Must be http/protobuf."""

    @property
    def traces(self) -> bool:
        """Whether requests are traced."""
        if self.otel_sdk_disabled or self.otel_traces_exporter == "none":
            return False
        return bool(self.otel_traces_exporter or self.otel_endpoint or self.otel_traces_endpoint)

    @property
    def otel_metrics(self) -> bool:
        """Whether OpenTelemetry's metrics are exported."""
        if self.otel_sdk_disabled or self.otel_metrics_exporter == "none":
            return False
        return bool(self.otel_metrics_exporter or self.otel_metrics_endpoint)

    @model_validator(mode="after")
    def _require_otlp_over_http(self) -> Self:
        for signal, on in (("traces", self.traces), ("metrics", self.otel_metrics)):
            for part, require in (("protocol", _require_http), ("endpoint", _require_url)) if on else ():
                own, shared = getattr(self, f"otel_{signal}_{part}"), getattr(self, f"otel_{part}")
                name = f"{signal}_{part}" if own else part
                try:
                    require(own or shared)
                except ValueError as error:
                    raise ValueError(f"OTEL_EXPORTER_OTLP_{name.upper()}: {error}") from None
        return self


def _require_http(protocol: str | None) -> None:
    if protocol and protocol != OTLP:
        raise ValueError(f"must be {OTLP} (OTEL_TRACES_EXPORTER=none: no traces)")


def _require_url(endpoint: str | None) -> None:
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    if endpoint:
        require_address(endpoint)
