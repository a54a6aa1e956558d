"""Soft labels: the probabilities of a teacher's action and conviction, and its vote on each line.

The rule-based analyst's come from its lead: an answer whose lead is one vote from the bound between two actions says
less for its action than one that is ten votes away. The lead is taken as uncertain: a lead that differs by d votes has
the weight exp(-|d|). A model's come from the log-probabilities that its server states, and its votes from its analysis.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp
from typing import Any

from app.contract import rule_based_analyst as rules
from app.contract.analysis import read_analysis
from app.contract.features import Metrics
from app.contract.probabilities import Token, label_probabilities
from app.contract.prompt import evidence

FARTHEST = 4
"""The largest difference of the lead that is considered, in votes; its weight is below 2%."""

CONVICTION = re.compile(r'"conviction"\s*:\s*(?=\d)')
STATED = re.compile(r"(10|[1-9])(?!\d)")


def soft_label(metrics: Metrics) -> dict[str, Any]:
    """Return the rule-based analyst's `votes` by the label of the line, and its distributions of `action`, and of
    `conviction` given the action.

    Lines that do not vote are left out.
    """
    lines = evidence(metrics.values())
    own = rules.balance(lines)
    actions, convictions = defaultdict[str, float](float), defaultdict[str, float](float)
    for difference in range(-FARTHEST, FARTHEST + 1):
        near, weight = replace(own, lead=own.lead + difference), exp(-abs(difference))
        actions[near.action] += weight
        if near.action == own.action:
            convictions[str(near.conviction)] += weight
    return {
        "votes": {lines[vote.indicator].label: vote.weight for vote in rules.votes_from(lines)},
        "action": _normalized(actions),
        "conviction": _normalized(convictions),
    }


def stated_probabilities(tokens: Sequence[Token]) -> dict[str, dict[str, float]]:
    """Return the distributions of `action` and `conviction` that a model's tokens state; without what they lack."""
    actions, convictions = label_probabilities(tokens), _convictions(tokens)
    found = {"action": _normalized(actions.values)} if actions else {}
    return found | ({"conviction": _normalized(convictions)} if convictions else {})


def stated_votes(analysis: str) -> dict[str, int]:
    """Return the votes that a model's analysis lists, by the label of the line; none in another format."""
    return {item.metric: item.vote for item in read_analysis(analysis)}


def _convictions(tokens: Sequence[Token]) -> dict[str, float]:
    """Return the weights of the convictions among the alternatives at the conviction's first digit."""
    match = CONVICTION.search("".join(token.token for token in tokens))
    start = 0
    for token in tokens if match else ():
        end = start + len(token.token)
        if match and match.end() < end:
            before = token.token[: match.end() - start]
            return _weights_by_conviction(token, before)
        start = end
    return {}


def _weights_by_conviction(token: Token, before: str) -> dict[str, float]:
    weights = defaultdict[str, float](float)
    for other in token.top_logprobs or ():
        stated = STATED.match(other.token, len(before)) if other.token.startswith(before) else None
        if stated:
            weights[stated[0]] += exp(other.logprob)
    return weights


def _normalized(weights: Mapping[Any, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: round(weight / total, 4) for name, weight in weights.items() if weight}
