"""A model's completion: its backend, text, tokens and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from app.contract.probabilities import LabelProbabilities

BackendName = Literal["mistral", "gpt-4", "candidate"]
BACKEND_NAMES: tuple[BackendName, BackendName] = ("mistral", "gpt-4")
"""The backends of every gateway, of a cascade, and of a comparison that names no others."""
INCUMBENT: BackendName = "mistral"
CANDIDATE: BackendName = "candidate"
"""Another version of the incumbent's model, where one is configured."""
ALL_BACKENDS: tuple[BackendName, ...] = (*BACKEND_NAMES, CANDIDATE)

MAX_TOKENS = 10**8
"""More than any call uses; the store's scripts compute tokens x microseconds in 53 bits."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. `cached_tokens` are part of the prompt's, `reasoning_tokens` of the completion's.

    `estimated`: the server reported no possible usage, for example because the call ended before, and the gateway
    estimated it from what was sent and received.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @classmethod
    def reported(cls, report: Any, text_received: bool = False) -> Self | None:
        """Read a server's `usage`, in which a part never exceeds its whole; None if it is missing or impossible.

        It is impossible without a prompt, or without a completion after text was received.
        """
        prompt, completion = _count(report, "prompt_tokens"), _count(report, "completion_tokens")
        if not prompt or completion is None or (text_received and not completion):
            return None
        cached = _count(_member(report, "prompt_tokens_details"), "cached_tokens") or 0
        reasoning = _count(_member(report, "completion_tokens_details"), "reasoning_tokens") or 0
        return cls(prompt, completion, min(cached, prompt), min(reasoning, completion))


def _member(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, Mapping) else None


def _count(document: Any, name: str) -> int | None:
    """Return a member that is a possible number of tokens, else None."""
    value = _member(document, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 <= value <= MAX_TOKENS and value == int(value) else None


NO_USAGE = Usage(0, 0)


@dataclass(frozen=True)
class Completion:
    """The complete text of a model.

    Times are seconds since the answered attempt was sent. `probabilities` are those of the three actions at the
    action's position; None where the backend returns no log-probabilities.
    """

    text: str
    model: str
    usage: Usage
    probabilities: LabelProbabilities | None
    time_to_first_token: float | None
    duration: float
    stand_in: bool
