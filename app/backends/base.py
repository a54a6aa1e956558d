"""The swap point: what the gateway asks of a backend, and what a backend gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.contract.prompt import Detail, Message
from app.contract.recommendation import Action

BackendName = Literal["mistral", "gpt-4"]
BACKEND_NAMES: tuple[BackendName, ...] = ("mistral", "gpt-4")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call: `cached_tokens` are among the prompt's, `reasoning_tokens` the completion's."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


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


class Backend(Protocol):
    """A model behind a name. Implementations raise the errors of `app.errors` only."""

    name: BackendName
    model: str

    async def complete(self, messages: Sequence[Message], detail: Detail) -> Completion:
        """Ask at temperature 0, with the answer's schema enforced; streamed inside, so times are true."""
        ...

    async def check(self) -> None:
        """Return if a request could be answered now, else raise `BackendUnavailable` saying why."""
        ...

    async def close(self) -> None: ...
