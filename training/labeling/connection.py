"""The OpenAI client and its error messages, which never quote the server, whose text may contain the key."""

from __future__ import annotations

import os
import re
from typing import Any

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, Timeout
from pydantic import SecretStr

TIMEOUT = Timeout(600, connect=10)
"""Seconds; the longest answers take one to two minutes."""

CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Pattern of a machine-readable error code; other codes are not shown."""


class TeacherFailed(ValueError):
    """The teacher cannot be queried any further; its answers so far are kept."""


def connect(retries: int = 0) -> AsyncOpenAI:
    """Return a client by OPENAI_API_KEY and OPENAI_BASE_URL. Raises `TeacherFailed` without a key."""
    key = SecretStr(os.environ.get("OPENAI_API_KEY", ""))
    if not key.get_secret_value():
        raise TeacherFailed("OPENAI_API_KEY is not set: the teacher is an OpenAI model")
    url = os.environ.get("OPENAI_BASE_URL") or None
    return AsyncOpenAI(api_key=key.get_secret_value(), base_url=url, max_retries=retries, timeout=TIMEOUT)


def code_of(error: Any) -> str | None:
    """Return the error code of an error or error document, or None."""
    code = error.get("code") if isinstance(error, dict) else getattr(error, "code", None)
    return code if isinstance(code, str) and CODE.fullmatch(code) else None


def never_sent(error: APIError) -> bool:
    """Return whether the connection failed, so that the request was not processed."""
    # Compared by name, because openai's HTTP library differs between versions.
    return isinstance(error, APIConnectionError) and type(error.__cause__).__name__ in (
        "ConnectError",
        "ConnectTimeout",
    )


def describe_error(error: APIError) -> str:
    """Return the message for the terminal."""
    if isinstance(error, APIConnectionError):
        return "the teacher's server cannot be reached (OPENAI_BASE_URL)"
    if not isinstance(error, APIStatusError):
        return "the teacher's server sent an invalid response"
    if error.status_code in (401, 403):
        return f"the teacher's server does not accept the key (HTTP {error.status_code}): check OPENAI_API_KEY"
    if code_of(error) == "insufficient_quota":
        return "the account has no quota left: check its plan and billing"
    return f"the teacher's server refused the request (HTTP {error.status_code} {code_of(error) or 'without a code'})"
