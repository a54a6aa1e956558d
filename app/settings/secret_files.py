"""Secrets by file: where NAME_FILE names a file, NAME is what stands in it. Containers are given secrets so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic_settings import EnvSettingsSource

from app.errors import InvalidSettings

FILE = "_FILE"


class SecretFiles(EnvSettingsSource):
    """Every secret among the settings; raises `InvalidSettings` for each file that cannot be used."""

    def __call__(self) -> dict[str, Any]:
        found, wrong = {}, []
        for name, variable in self._secrets():
            path = self.env_vars.get(f"{variable}{FILE}".lower())
            if not path:
                continue
            try:
                found[name] = self._read(variable, Path(path))
            except InvalidSettings as error:
                wrong.append(error.detail)
        if wrong:
            raise InvalidSettings("; ".join(wrong))
        return found

    def _secrets(self) -> Iterator[tuple[str, str]]:
        """What each setting that holds a secret goes by, among the settings and in the environment."""
        for name, field in self.settings_cls.model_fields.items():
            if SecretStr in (field.annotation, *get_args(field.annotation)):
                alias = field.validation_alias
                yield (alias, alias) if isinstance(alias, str) else (name, f"{self.env_prefix}{name.upper()}")

    def _read(self, variable: str, path: Path) -> str:
        """Without the line's end. An empty file is no secret, and no sign that none is wanted."""
        if self.env_vars.get(variable.lower()):
            raise InvalidSettings(f"{variable}{FILE}: {variable} is set as well; unset one of them")
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = None
        if not secret:
            state = "holds nothing" if secret == "" else "cannot be read"
            raise InvalidSettings(
                f"{variable}{FILE}: the file {state}; write the secret into it, readable by the gateway's user, "
                f"or unset {variable}{FILE}"
            )
        return secret
