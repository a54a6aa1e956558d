"""How likely each action was where a model wrote one, from the alternatives it weighed there.

Tokenizers split `"action":"sell"` as they like: the value may begin a token, follow a quote within one,
or go on over several. What is summed for a label are the alternatives that begin it, or that hold all of
it and its closing quote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import exp

from pydantic import BaseModel

from app.contract.recommendation import ACTIONS, Action

TOP_LOGPROBS = 20
"""Alternatives asked for at each position: the most that servers give."""

VALUE = re.compile(r'"action"\s*:\s*"')
"""What stands before the action. Inside a JSON string its quotes would be escaped."""

UNSEEN = -9999.0
"""The logarithm that servers give for a token outside the alternatives."""


class Alternative(BaseModel):
    """A token that could have stood at a position, and the natural logarithm of its probability."""

    token: str
    logprob: float


class Token(Alternative):
    """The token that stands there, with the likeliest ones."""

    top_logprobs: list[Alternative] = []


def label_probabilities(tokens: Sequence[Token]) -> Mapping[Action, float] | None:
    """The three labels' probabilities, summing to one; None where one is not among the alternatives."""
    found = _at_value(tokens)
    if found is None:
        return None
    before, token = found
    alternatives = {other.token: other.logprob for other in (token, *token.top_logprobs)}
    logs: dict[Action, list[float]] = {label: [] for label in ACTIONS}
    for text, logprob in alternatives.items():
        label = _label(text, before)
        if label is not None and logprob > UNSEEN:
            logs[label].append(logprob)
    if not all(logs.values()):
        return None
    top = max(max(seen) for seen in logs.values())
    masses = {label: sum(exp(log - top) for log in seen) for label, seen in logs.items()}
    total = sum(masses.values())
    return {label: mass / total for label, mass in masses.items()}


def _at_value(tokens: Sequence[Token]) -> tuple[str, Token] | None:
    """The token in which the action's first letter stands, and what stands before the letter in it."""
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
    """The label that an alternative begins, given what must stand before the label in it."""
    if not text.startswith(before):
        return None
    rest = text[len(before) :]
    if not rest:
        return None
    return next((label for label in ACTIONS if label.startswith(rest) or rest.startswith(f'{label}"')), None)
