"""A server's refusal of a chat completion, as a client of the gateway may see it."""

from __future__ import annotations

import re

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

SECRET = re.compile(r"\b(?:(?:sk|rk|pk)-[\w*-]{4,}|(?:org|proj)[-_]\w{6,}|Bearer\s+\S+)", re.ASCII | re.IGNORECASE)
"""Keys and accounts as OpenAI writes them, masked ones too."""

HIDDEN = "***"


class _Error(BaseModel):
    message: str
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Document(BaseModel):
    error: _Error


def scrubbed(document: bytes, key: str, otherwise: str) -> bytes:
    """The error in OpenAI's shape without the key and what looks like one; `otherwise` is what it says if it said
    nothing that can be read."""
    error = _read(document) or _Error(message=otherwise, type="invalid_request_error")
    shown = {name: _clean(value, key) if isinstance(value, str) else value for name, value in error}
    return to_json({"error": shown})


def _clean(said: str, key: str) -> str:
    return SECRET.sub(HIDDEN, said.replace(key, HIDDEN) if key else said)


def _read(document: bytes) -> _Error | None:
    for form in (_Document, _Error):
        try:
            said = form.model_validate_json(document)
        except ValidationError:
            continue
        return said.error if isinstance(said, _Document) else said
    return None
