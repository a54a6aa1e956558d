"""A model's completion: its backend, text, tokens and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.contract.probabilities import LabelProbabilities

BackendName = Literal["mistral", "gpt-4"]
BACKEND_NAMES: tuple[BackendName, ...] = ("mistral", "gpt-4")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. `cached_tokens` are part of the prompt's, `reasoning_tokens` of the completion's.

    `estimated`: the call ended before the server reported its usage, and the gateway estimated it.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


NO_USAGE = Usage(0, 0)


@dataclass(frozen=True)
class Completion:
    """The complete text of a model.

    Times are seconds since the call was sent. `probabilities` are those of the three actions at the action's position;
    None where the backend returns no log-probabilities.
    """

    text: str
    model: str
    usage: Usage
    probabilities: LabelProbabilities | None
    time_to_first_token: float | None
    duration: float
    stand_in: bool
