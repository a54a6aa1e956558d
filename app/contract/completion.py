"""A model's completion: which backend made it, its text, its tokens and its times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.contract.recommendation import Action

BackendName = Literal["mistral", "gpt-4"]
BACKEND_NAMES: tuple[BackendName, ...] = ("mistral", "gpt-4")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call: `cached_tokens` are among the prompt's, `reasoning_tokens` the completion's.

    `estimated` where the server was left before it told; the figures are then ours.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


NOTHING = Usage(0, 0)


@dataclass(frozen=True)
class Completion:
    """What a model wrote, whole.

    Times are seconds since the call was sent. `probabilities` are the masses of the labels' first tokens at
    the action's position, renormalised, or None where the backend gives none or one label is out of sight.
    """

    text: str
    model: str
    usage: Usage
    probabilities: Mapping[Action, float] | None
    time_to_first_token: float | None
    duration: float
    stand_in: bool
