"""Settings from environment variables, secrets from files, and errors that name the variable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from app.errors import InvalidSettings

PREFIX = "CONVICTION_"
FILE = "_FILE"
RENAMED = {
    "mistral_at_once": "mistral_max_concurrency",
    "mistral_line": "mistral_queue_size",
    "gpt4_at_once": "gpt4_max_concurrency",
    "gpt4_line": "gpt4_queue_size",
    "batch_at_once": "batch_max_concurrency",
}
"""Earlier names of fields. A variable of an earlier name is an error, so that its value is never silently ignored."""


def _header_value(key: SecretStr | None) -> SecretStr | None:
    """Strip the newline of the file it was read from; no other such character can be in a header."""
    stripped = key.get_secret_value().strip() if key else ""
    if not (stripped.isascii() and stripped.isprintable()):
        raise ValueError("contains a character that is not printable ASCII")
    return SecretStr(stripped) if stripped else None


HeaderSecret = Annotated[SecretStr | None, AfterValidator(_header_value)]
"""A secret that is sent in a header; None if it is blank."""


def split_commas(value: Any) -> Any:
    """Return the parts of a comma-separated text without surrounding white space; any other value unchanged."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class SecretFiles(EnvSettingsSource):
    """Secrets from files: where the variable NAME_FILE is set, NAME is the content of the file that it names.

    Raises `InvalidSettings` naming every file that cannot be used.
    """

    def __call__(self) -> dict[str, Any]:
        secrets, errors = {}, []
        for name, variable in self._secret_fields():
            path = self.env_vars.get(f"{variable}{FILE}".lower())
            if not path:
                continue
            try:
                secrets[name] = self._read(variable, Path(path))
            except InvalidSettings as error:
                errors.append(error.detail)
        if errors:
            raise InvalidSettings("; ".join(errors))
        return secrets

    def _secret_fields(self) -> Iterator[tuple[str, str]]:
        """Yield each secret field's input name and environment variable."""
        for name, field in self.settings_cls.model_fields.items():
            if SecretStr in (field.annotation, *get_args(field.annotation)):
                alias = field.validation_alias
                yield (alias, alias) if isinstance(alias, str) else (name, f"{self.env_prefix}{name.upper()}")

    def _read(self, variable: str, path: Path) -> str:
        """Return the file's text without surrounding white space; an empty file is an error."""
        if self.env_vars.get(variable.lower()):
            raise InvalidSettings(f"{variable}{FILE}: {variable} is set as well; unset one of them")
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = None
        if not secret:
            state = "is empty" if secret == "" else "cannot be read"
            raise InvalidSettings(
                f"{variable}{FILE}: the file {state}; write the secret into it, readable by the gateway's user, "
                f"or unset {variable}{FILE}"
            )
        return secret


class EnvironmentSettings(BaseSettings):
    """Base of settings: read from CONVICTION_<NAME> or the field's alias; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, validate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


T = TypeVar("T", bound=EnvironmentSettings)


def load(kind: type[T]) -> T:
    """Read settings from the environment. Raises `InvalidSettings` naming every invalid variable, without values."""
    errors = list(_renamed_variables(kind))
    try:
        settings = kind()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            variable = f"{_variable(kind, str(problem['loc'][0]))}: " if problem["loc"] else ""
            errors.append(variable + problem["msg"].removeprefix("Value error, "))
    if errors:
        raise InvalidSettings("; ".join(errors))
    return settings


def _renamed_variables(kind: type[EnvironmentSettings]) -> Iterator[str]:
    given = {name.upper() for name, value in os.environ.items() if value}
    for old, new in RENAMED.items():
        if new in kind.model_fields and PREFIX + old.upper() in given:
            yield f"{PREFIX}{old.upper()}: renamed; set {PREFIX}{new.upper()} instead"


def _variable(kind: type[BaseSettings], name: str) -> str:
    """Return a field's environment variable; pydantic reports a field with an alias by the alias."""
    return PREFIX + name.upper() if name in kind.model_fields else name
