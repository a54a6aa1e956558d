"""The settings of the command-line client."""

from __future__ import annotations

from app.settings.addresses import HttpUrl
from app.settings.loading import EnvironmentSettings, HeaderSecret


class ClientSettings(EnvironmentSettings):
    url: HttpUrl = "http://127.0.0.1:8080"
    """Base URL of the gateway that the commands use."""
    api_key: HeaderSecret | None = None
    """Key that the commands send."""
