"""The secrets of the environment, which no log line and no traceback may contain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

VARIABLE = re.compile(
    r"(KEY|KEYS|PASSWORD|TOKEN|SECRET|REDIS_URL|DECISION_LOG_URL|WEBHOOK_URL)(_FILE)?$", re.IGNORECASE
)
MIN_LENGTH = 6
"""Characters of a secret; shorter ones occur in other text."""


def known_secrets() -> tuple[str, ...]:
    """Return the secrets in variables and in the files that variables name: a line's text, after `name:` if any."""
    found = {secret for text in _texts() for line in text.splitlines() for secret in _secrets(line.strip())}
    return tuple(sorted(found, key=len, reverse=True))


def _texts() -> Iterator[str]:
    for variable, value in os.environ.items():
        if not VARIABLE.search(variable):
            continue
        if variable.upper().endswith("_FILE"):
            with suppress(OSError, UnicodeDecodeError, ValueError):
                yield Path(value).read_text("utf-8")
        else:
            yield value


def _secrets(line: str) -> Iterator[str]:
    name, _, key = line.partition(":")
    yield from (secret for secret in (line, key.strip() or name) if len(secret) >= MIN_LENGTH)
