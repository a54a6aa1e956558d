"""Settings that decide whether requests are traced. The OpenTelemetry SDK reads all its other variables itself."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from app.settings.addresses import require_http_url
from app.settings.loading import EnvironmentSettings

OTLP = "http/protobuf"


class TracingSettings(EnvironmentSettings):
    otel_sdk_disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    """Turns tracing off, whatever else is set."""
    otel_traces_exporter: Literal["otlp", "none"] | None = Field(default=None, validation_alias="OTEL_TRACES_EXPORTER")
    """otlp turns tracing on, none turns it off."""
    otel_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT", repr=False)
    """OTLP collector; setting it turns tracing on."""
    otel_traces_endpoint: str | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", repr=False
    )
    """OTLP collector for traces alone; setting it turns tracing on."""
    otel_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    """Must be http/protobuf."""
    otel_traces_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    """Must be http/protobuf."""

    @property
    def traces(self) -> bool:
        """Whether requests are traced."""
        if self.otel_sdk_disabled or self.otel_traces_exporter == "none":
            return False
        return bool(self.otel_traces_exporter or self.otel_endpoint or self.otel_traces_endpoint)

    @model_validator(mode="after")
    def _require_otlp_over_http(self) -> Self:
        if self.traces and (self.otel_traces_protocol or self.otel_protocol or OTLP) != OTLP:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: must be {OTLP} (OTEL_TRACES_EXPORTER=none: no traces)")
        endpoint = self.otel_traces_endpoint or self.otel_endpoint
        if self.traces and endpoint:
            try:
                require_http_url(endpoint)
            except ValueError as error:
                raise ValueError(f"OTEL_EXPORTER_OTLP_ENDPOINT: {error}") from None
        return self
