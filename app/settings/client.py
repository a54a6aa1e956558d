"""The settings of the command-line client."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from app.settings.addresses import HttpUrl, proxy_for
from app.settings.loading import EnvironmentSettings, HeaderSecret


class ClientSettings(EnvironmentSettings):
    url: HttpUrl = "http://127.0.0.1:8080"
    """Base URL of the gateway that the commands use."""
    api_key: HeaderSecret = None
    """Key that the commands send."""

    @model_validator(mode="after")
    def _require_usable_proxy(self) -> Self:
        proxy_for(self.url)
        return self
