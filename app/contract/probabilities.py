"""Probabilities of the actions, from the log-probabilities of the alternatives at the action's position.

Tokenizers split `"action":"sell"` differently: the value may begin a token, follow a quote within one, or span
several. The probability of a label is the sum over the alternatives that are a prefix of it, or that contain all of
it and its closing quote. A label without such an alternative is less likely than the last alternative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Annotated

from pydantic import BaseModel, Field

from app.contract.recommendation import ACTIONS, Action

TOP_LOGPROBS = 20
"""Alternatives requested per position: the servers' maximum."""

VALUE = re.compile(r'"action"\s*:\s*"')
"""The text before the action. Inside a JSON string its quotes would be escaped."""

UNSEEN = -9999.0
"""The log-probability that servers report for a token that is not among the alternatives."""


class Alternative(BaseModel):
    """A possible token at a position, and the natural logarithm of its probability."""

    token: str
    logprob: Annotated[float, Field(allow_inf_nan=False)]


class Token(Alternative):
    """The token that was chosen, with the likeliest alternatives."""

    top_logprobs: list[Alternative] | None = None


@dataclass(frozen=True)
class LabelProbabilities:
    """The actions' probabilities, normalized. A label that is no alternative has 0, and `bound` is what it has at most;
    None if all are alternatives."""

    values: Mapping[Action, float]
    bound: float | None


def label_probabilities(tokens: Sequence[Token]) -> LabelProbabilities | None:
    """Return the three actions' probabilities; None without alternatives, or if no alternative is an action."""
    decision = _decision_token(tokens)
    if decision is None:
        return None
    before, token = decision
    if not token.top_logprobs:
        return None
    logs: dict[Action, list[float]] = {label: [] for label in ACTIONS}
    alternatives = [other for other in _alternatives(token, token.top_logprobs) if other.logprob > UNSEEN]
    for other in alternatives:
        label = _label(other.token, before)
        if label is not None:
            logs[label].append(other.logprob)
    if not any(logs.values()):
        return None
    top = max(max(values) for values in logs.values() if values)
    masses = {label: sum(exp(log - top) for log in values) for label, values in logs.items()}
    total = sum(masses.values())
    last = exp(min(other.logprob for other in alternatives) - top)
    return LabelProbabilities(
        {label: mass / total for label, mass in masses.items()},
        None if all(logs.values()) else min(last, total) / total,
    )


def _alternatives(token: Token, listed: list[Alternative]) -> list[Alternative]:
    """Return the alternatives at a position, once each; the chosen token is one of them, listed or not.

    Several tokens may have the same text, such as bytes of a character.
    """
    own = any(other.token == token.token and other.logprob == token.logprob for other in listed)
    return listed if own else [token, *listed]


def _decision_token(tokens: Sequence[Token]) -> tuple[str, Token] | None:
    """Return the token that contains the action's first letter, and the token's text before that letter."""
    match = VALUE.search("".join(token.token for token in tokens))
    if match is None:
        return None
    start = 0
    for token in tokens:
        end = start + len(token.token)
        if match.end() < end:
            return token.token[: match.end() - start], token
        start = end
    return None


def _label(text: str, before: str) -> Action | None:
    """Return the label that an alternative starts, if the alternative has the text `before` it."""
    if not text.startswith(before):
        return None
    rest = text[len(before) :]
    if not rest:
        return None
    return next((label for label in ACTIONS if label.startswith(rest) or rest.startswith(f'{label}"')), None)
