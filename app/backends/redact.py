"""Redaction of a server's error document before a client sees it."""

from __future__ import annotations

import re

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

SECRET = re.compile(r"\b(?:(?:sk|rk|pk)-[\w*-]{4,}|(?:org|proj)[-_]\w{6,}|Bearer\s+\S+)", re.ASCII | re.IGNORECASE)
"""OpenAI's keys, masked ones included, and the ids of its accounts."""

HIDDEN = "***"


class _Error(BaseModel):
    message: str
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Document(BaseModel):
    error: _Error


def redact_error(document: bytes, key: str, default_message: str) -> bytes:
    """Return the error in OpenAI's format, without the key and text that looks like one.

    `default_message` replaces a document that cannot be parsed.
    """
    error = _parse(document) or _Error(message=default_message, type="invalid_request_error")
    fields = {name: _redact(value, key) if isinstance(value, str) else value for name, value in error}
    return to_json({"error": fields})


def _redact(text: str, key: str) -> str:
    return SECRET.sub(HIDDEN, text.replace(key, HIDDEN) if key else text)


def _parse(document: bytes) -> _Error | None:
    """Parse OpenAI's format, or the bare error of older vLLM versions."""
    for model in (_Document, _Error):
        try:
            parsed = model.model_validate_json(document)
        except ValidationError:
            continue
        return parsed.error if isinstance(parsed, _Document) else parsed
    return None
