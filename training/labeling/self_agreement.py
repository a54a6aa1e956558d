"""How far a teacher agrees with itself: the same prompts, asked several times. A student's ceiling."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from app.contract import rule_based_analyst as rules
from training.labeling.journal import Answered
from training.labeling.prompts import Question

Said = tuple[str, int]
"""Action and conviction."""


def self_agreement(asked: Iterable[Question], labels: Mapping[str, Answered], repeat: int) -> dict[str, Any]:
    """Of the prompts asked `repeat` times: over all pairs of answers to one prompt, the share with the same
    action and the mean absolute difference of convictions, prompts weighing alike. Null where none has two answers.
    """
    said: dict[str, list[Said]] = {}
    sampled = {one.prompt.hash for one in asked if one.repeat}
    unanswered = 0
    for one in asked:
        if one.prompt.hash not in sampled:
            continue
        if (label := labels.get(one.key)) is None or label.answer is None:
            unanswered += 1
            continue
        answer = json.loads(label.answer)
        said.setdefault(one.prompt.hash, []).append((answer["action"], answer["conviction"]))
    several = [answers for answers in said.values() if len(answers) > 1]
    return {
        "repeats": repeat,
        "prompts": len(several),
        "unanswered": unanswered,
        "action_agreement": _mean([fmean(a[0] == b[0] for a, b in combinations(one, 2)) for one in several]),
        "unanimous": _mean([float(len({action for action, _ in one}) == 1) for one in several]),
        "conviction_mean_absolute_error": _mean(
            [fmean(abs(a[1] - b[1]) for a, b in combinations(one, 2)) for one in several]
        ),
    }


def of_the_rules(repeat: int) -> dict[str, Any]:
    """The rule-based analyst's, which needs no measuring."""
    return {
        "repeats": repeat,
        "action_agreement": 1.0,
        "unanimous": 1.0,
        "conviction_mean_absolute_error": 0.0,
        "by_construction": f"{rules.MODEL_ID} is a function of the prompt",
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None
