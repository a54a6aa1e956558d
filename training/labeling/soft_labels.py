"""Soft labels of the rule-based analyst: the probability of each answer near its own, and the vote of each line.

An answer whose lead is one vote from the bound between two actions says less for its action than one that is ten
votes away. The lead is taken as uncertain: a lead that differs by d votes has the weight exp(-|d|).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import exp
from typing import Any

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.prompt import evidence

FARTHEST = 4
"""The largest difference of the lead that is considered, in votes; its weight is below 2%."""


def soft_label(metrics: Metrics) -> dict[str, Any]:
    """Return `votes` by the label of the line, and the distributions of `action`, and of `conviction` given the action.

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


def _normalized(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: round(weight / total, 4) for name, weight in weights.items()}
