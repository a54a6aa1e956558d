"""The ways in which the stand-in can be told to fail, and how often it still has to."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal[
    "429",  # asks for fewer requests
    "quota",  # 429 too, but for good
    "500",
    "503",
    "timeout",  # never answers
    "late",  # answers, once `delay` has passed
    "slow",  # answers a token every SLOW_S
    "drip",  # answers a few bytes every SLOW_S
    "cut",  # closes the connection in the middle of the answer
    "garbled",  # the event stream is not JSON
    "malformed",  # the answer is not JSON
    "length",  # the answer ends at its token limit
    "refusal",
    "filtered",  # ends at a content filter
    "empty",
    "unmetered",  # leaves the usage out
]
MODES: tuple[Mode, ...] = get_args(Mode)

SLOW_S = 0.05
DRIP = 16
"""Bytes at a time."""


class Failure(BaseModel):
    """An order to fail the next completions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode
    times: Annotated[int, Field(ge=0)] = 1
    retry_after: Annotated[int, Field(ge=0)] = 1
    """Seconds, for the modes that name them."""
    delay: Annotated[float, Field(ge=0)] = 1.0
    """Seconds before a late answer."""


class Plan:
    """The order that stands, if one does."""

    def __init__(self) -> None:
        self._order: Failure | None = None
        self._left = 0

    def take(self, order: Failure) -> None:
        self._order, self._left = order, order.times

    def next(self) -> Failure | None:
        """The failure of this completion, counted off."""
        if self._left == 0:
            return None
        self._left -= 1
        return self._order
