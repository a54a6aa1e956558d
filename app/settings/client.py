"""The settings of the command-line client."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

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


class TerminalSettings(EnvironmentSettings):
    no_color: Annotated[str, Field(validation_alias="NO_COLOR")] = ""
    """Any value: no colours ([no-color.org](https://no-color.org))."""
    term: Annotated[str, Field(validation_alias="TERM")] = ""
    """The kind of terminal; `dumb` is one without colours."""

    @property
    def coloured(self) -> bool:
        return not self.no_color and self.term != "dumb"
