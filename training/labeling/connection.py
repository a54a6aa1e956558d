"""The client of OpenAI's API, and its errors in words of our own: a server's words may hold the key."""

from __future__ import annotations

import os
import re
from typing import Any

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, Timeout
from pydantic import SecretStr

TIMEOUT = Timeout(600, connect=10)
"""Seconds; the longest answer takes a minute or two."""

CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a machine-readable error code looks like; anything else is not repeated."""


class TeacherFailed(ValueError):
    """The teacher cannot be asked any further; what it answered is kept."""


def connect(retries: int = 0) -> AsyncOpenAI:
    """By OPENAI_API_KEY and OPENAI_BASE_URL. Raises `TeacherFailed` where there is no key."""
    key = SecretStr(os.environ.get("OPENAI_API_KEY", ""))
    if not key.get_secret_value():
        raise TeacherFailed("OPENAI_API_KEY: needed, since the teacher is OpenAI's")
    url = os.environ.get("OPENAI_BASE_URL") or None
    return AsyncOpenAI(api_key=key.get_secret_value(), base_url=url, max_retries=retries, timeout=TIMEOUT)


def code_of(error: Any) -> str | None:
    """The code of an error document, if it has one that can be shown."""
    code = error.get("code") if isinstance(error, dict) else getattr(error, "code", None)
    return code if isinstance(code, str) and CODE.fullmatch(code) else None


def never_sent(error: APIError) -> bool:
    """Whether no connection was made, so that nothing can have been worked on."""
    # By name: the openai package has changed the HTTP library whose errors these are.
    return isinstance(error, APIConnectionError) and type(error.__cause__).__name__ in (
        "ConnectError",
        "ConnectTimeout",
    )


def in_words(error: APIError) -> str:
    """What went wrong, for the terminal."""
    if isinstance(error, APIConnectionError):
        return "the teacher's server cannot be reached (OPENAI_BASE_URL)"
    if not isinstance(error, APIStatusError):
        return "the teacher's server answered in a way that is not understood"
    if error.status_code in (401, 403):
        return f"the teacher's server does not accept the key (HTTP {error.status_code}): check OPENAI_API_KEY"
    if code_of(error) == "insufficient_quota":
        return "the account has no quota left: check its plan and billing"
    return f"the teacher's server refused the request (HTTP {error.status_code} {code_of(error) or 'without a code'})"
