"""An answer as the tokens of a model, each with the alternatives at its position."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import log
from typing import Any

from app.contract.recommendation import ACTIONS, Action, Answer, canonical

TOKEN = re.compile(r" ?[A-Za-z]{1,8}|\d|[^A-Za-z\d ]{1,3}| ")
"""A few characters; an action is always one token."""

WORDS = "the a of in and to is for on with at by as it or an be no if so we"
OTHERS = tuple(f" {word}" for word in WORDS.split())
CHOSEN, UNLIKELY, STEP = log(0.9), -6.0, -0.25
"""Log-probabilities: of the token, of the likeliest of `OTHERS`, and the step from each of those to the next."""


@dataclass(frozen=True)
class Token:
    """A token, and the log-probabilities of the alternatives at its position, its own included."""

    text: str
    alternatives: tuple[tuple[str, float], ...]

    def document(self, top: int) -> dict[str, Any]:
        """Return the token as an entry of `logprobs.content`."""
        likeliest = sorted(self.alternatives, key=lambda other: -other[1])[:top]
        return _entry(self.text, dict(self.alternatives)[self.text]) | {
            "top_logprobs": [_entry(text, logprob) for text, logprob in likeliest]
        }


def split(text: str) -> list[str]:
    """Split a text into tokens, without losing a character."""
    return TOKEN.findall(text)


def answer_tokens(answer: Answer) -> list[Token]:
    """Return the canonical answer's tokens; at the action's position, the alternatives are the three actions."""
    probabilities = action_probabilities(answer.action, answer.conviction)
    tokens = text_tokens(canonical(answer))
    position = max(index for index, token in enumerate(tokens) if token.text == answer.action)
    alternatives = {str(action): log(probability) for action, probability in probabilities.items()}
    tokens[position] = Token(answer.action, _alternatives(alternatives))
    return tokens


def action_probabilities(action: Action, conviction: int) -> dict[Action, float]:
    """Return a probability for each action: the higher the conviction, the higher that of the answer's action."""
    own = 0.4 + 0.05 * conviction
    rest = 0.99 - own
    others = [other for other in ACTIONS if other != action]
    return {action: own, others[0]: rest * 0.6, others[1]: rest * 0.4}


def text_tokens(text: str) -> list[Token]:
    """Return the tokens of any text, each with a probability of 0.9."""
    return [Token(token, _alternatives({token: CHOSEN})) for token in split(text)]


def _alternatives(logprobs: dict[str, float]) -> tuple[tuple[str, float], ...]:
    others = {word: UNLIKELY + STEP * index for index, word in enumerate(OTHERS)}
    return tuple((others | logprobs).items())


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
