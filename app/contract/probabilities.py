"""Probabilities of the actions, from the log-probabilities of the alternatives at the action's position.

Tokenizers split `"action":"sell"` differently: the value may begin a token, follow a quote within one, or span
several. The probability of a label is the sum over the alternatives that are a prefix of it, or that contain all of
it and its closing quote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import exp

from pydantic import BaseModel

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
    logprob: float


class Token(Alternative):
    """The token that was chosen, with the likeliest alternatives."""

    top_logprobs: list[Alternative] = []


def label_probabilities(tokens: Sequence[Token]) -> Mapping[Action, float] | None:
    """Return the three actions' probabilities, normalized; None if one is not among the alternatives."""
    decision = _decision_token(tokens)
    if decision is None:
        return None
    before, token = decision
    alternatives = {other.token: other.logprob for other in (token, *token.top_logprobs)}
    logs: dict[Action, list[float]] = {label: [] for label in ACTIONS}
    for text, logprob in alternatives.items():
        label = _label(text, before)
        if label is not None and logprob > UNSEEN:
            logs[label].append(logprob)
    if not all(logs.values()):
        return None
    top = max(map(max, logs.values()))
    masses = {label: sum(exp(log - top) for log in values) for label, values in logs.items()}
    total = sum(masses.values())
    return {label: mass / total for label, mass in masses.items()}


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
