"""The failures that the stand-in can simulate, and the requested number of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal[
    "429",  # a rate limit
    "quota",  # 429 without a remedy: the quota is used up
    "500",
    "503",
    "timeout",  # never answers
    "late",  # answers after `delay`
    "slow",  # sends a token every SLOW_S
    "drip",  # sends `DRIP` bytes every SLOW_S
    "cut",  # closes the connection in mid-answer
    "garbled",  # an event of the stream is not JSON
    "malformed",  # the answer is not JSON
    "length",  # stops at the token limit
    "refusal",
    "filtered",  # stopped by a content filter
    "empty",
    "unmetered",  # reports no usage
]

SLOW_S = 0.05
DRIP = 16
"""Bytes per write."""


class Failure(BaseModel):
    """The failure of the next `times` completions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode
    times: Annotated[int, Field(ge=0)] = 1
    retry_after: Annotated[int, Field(ge=0)] = 1
    """Seconds, for the modes that send Retry-After."""
    delay: Annotated[float, Field(ge=0)] = 1.0
    """Seconds before a late answer."""


class FailurePlan:
    """The requested failure and the number of completions that it still applies to."""

    def __init__(self) -> None:
        self._failure: Failure | None = None
        self._left = 0

    def set(self, failure: Failure) -> None:
        self._failure, self._left = failure, failure.times

    def next(self) -> Failure | None:
        """Return the failure of the next completion, if any, and count it."""
        if self._left == 0:
            return None
        self._left -= 1
        return self._failure
