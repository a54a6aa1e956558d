"""Structured logs: one JSON object per line on stderr, with the request's id and without secrets or bodies."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from app.telemetry.tracing import trace_id

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, added to each record that it logs."""

HIDDEN = "[hidden]"
SECRET_SHAPES = re.compile(
    r"\bsk-[\w-]{8,}"  # OpenAI's keys
    r"|(?<=\bcvk_[0-9a-f]{12}_)[\w-]+"  # the gateway's keys, without their ids
    r"|(?<=\bBearer )\S+"
    r"|(?<=://)[^/\s@]*:[^/\s@]*(?=@)"  # user and password in a URL
    r"|(?i:(?<=x-api-key: )\S+)"
)
STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
"""Attributes of every record; all others come from `extra`."""


class SecretFilter(logging.Filter):
    """Replace the configured secrets, and text that looks like a key, in a record's message, extras and traceback."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and let it pass."""
        record.msg, record.args = self.redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self.redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        for name, value in vars(record).items():
            if name not in STANDARD_FIELDS and isinstance(value, str):
                setattr(record, name, self.redact(value))
        return True

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return SECRET_SHAPES.sub(HIDDEN, text)


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON. See docs/decisions/log-format.md."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "trace_id": trace_id(),
        }
        document |= {name: value for name, value in vars(record).items() if name not in STANDARD_FIELDS}
        if record.exc_text:
            document["trace"] = record.exc_text
        return json.dumps({name: value for name, value in document.items() if value is not None}, default=str)


def log_config(secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`; it also turns uvicorn's access log off."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"secrets": {"()": SecretFilter, "secrets": tuple(secrets)}},
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "filters": ["secrets"],
                "formatter": "json",
            }
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {
            "uvicorn.access": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "openai": {"level": "WARNING"},
            "yfinance": {"level": "ERROR"},
        },
    }
