"""An answer as a model would utter it: token by token, each with the alternatives it was preferred to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import log
from typing import Any

from app.contract.recommendation import ACTIONS, Action, Answer, canonical

PIECE = re.compile(r" ?[A-Za-z]{1,8}|\d|[^A-Za-z\d ]{1,3}| ")
"""A few characters; the value of a label is always one piece."""

WORDS = (
    "the",
    "a",
    "of",
    "in",
    "and",
    "to",
    "is",
    "for",
    "on",
    "with",
    "at",
    "by",
    "as",
    "it",
    "or",
    "an",
    "be",
)
OTHERS = tuple(f" {word}" for word in (*WORDS, "no", "if", "so", "we"))
SURE, UNLIKELY, STEP = log(0.9), -6.0, -0.25
"""Log-probabilities: of a token, of the likeliest of the `OTHERS`, and from each of those to the next."""


@dataclass(frozen=True)
class Spoken:
    """A token, and what could have stood in its place with the logarithms of their probabilities."""

    text: str
    alternatives: tuple[tuple[str, float], ...]

    def document(self, top: int) -> dict[str, Any]:
        """As an entry of `logprobs.content`."""
        likeliest = sorted(self.alternatives, key=lambda other: -other[1])[:top]
        return _entry(self.text, dict(self.alternatives)[self.text]) | {
            "top_logprobs": [_entry(text, logprob) for text, logprob in likeliest]
        }


def pieces(text: str) -> list[str]:
    return PIECE.findall(text)


def utter(answer: Answer) -> list[Spoken]:
    """The canonical answer, with the three labels weighed where the action stands."""
    weighed = {str(label): log(share) for label, share in shares(answer.action, answer.conviction).items()}
    spoken = utter_plainly(canonical(answer))
    at = max(place for place, token in enumerate(spoken) if token.text == answer.action)
    spoken[at] = Spoken(answer.action, _fill(weighed))
    return spoken


def shares(action: Action, conviction: int) -> dict[Action, float]:
    """How likely each label was: the surer the answer, the likelier its own."""
    own = 0.4 + 0.05 * conviction
    rest = 0.99 - own
    others = [label for label in ACTIONS if label != action]
    return {action: own, others[0]: rest * 0.6, others[1]: rest * 0.4}


def utter_plainly(text: str) -> list[Spoken]:
    """Any text, sure of each token."""
    return [Spoken(piece, _fill({piece: SURE})) for piece in pieces(text)]


def _fill(weighed: dict[str, float]) -> tuple[tuple[str, float], ...]:
    others = {word: UNLIKELY + STEP * place for place, word in enumerate(OTHERS)}
    return tuple((others | weighed).items())


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
