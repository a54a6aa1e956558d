"""Structured logs: one JSON object a line on stderr, with the request's id and without secrets or bodies."""

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
"""The request being answered, for every line logged meanwhile."""

HIDDEN = "[hidden]"
SECRET_SHAPES = re.compile(
    r"\bsk-[\w-]{8,}"  # OpenAI's keys
    r"|(?<=\bcvk_[0-9a-f]{12}_)[\w-]+"  # our own, but for their ids
    r"|(?<=\bBearer )\S+"
    r"|(?<=://)[^/\s@]*:[^/\s@]*(?=@)"  # user and password in a URL
    r"|(?i:(?<=x-api-key: )\S+)"
)
OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
"""What every record carries; what is beside it was given by `extra`."""


class SecretFilter(logging.Filter):
    """Hides the known secrets, and whatever has the shape of one, in all that a record would print."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; every record passes."""
        record.msg, record.args = self.clean(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self.clean("".join(traceback.format_exception(*record.exc_info)).rstrip())
        for name, value in vars(record).items():
            if name not in OWN and isinstance(value, str):
                setattr(record, name, self.clean(value))
        return True

    def clean(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return SECRET_SHAPES.sub(HIDDEN, text)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "trace_id": trace_id(),
        }
        document |= {name: value for name, value in vars(record).items() if name not in OWN}
        if record.exc_text:
            document["trace"] = record.exc_text
        return json.dumps({name: value for name, value in document.items() if value is not None}, default=str)


def log_config(secrets: Iterable[str] = (), level: str = "INFO") -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig` and uvicorn, whose access log ours replaces."""
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
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            "uvicorn.access": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "openai": {"level": "WARNING"},
            "yfinance": {"level": "ERROR"},
        },
    }
