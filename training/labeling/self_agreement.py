"""Agreement of a teacher with itself on repeated prompts, an upper bound for a student's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from app.contract import rule_based_analyst as rules
from training.labeling.journal import Answered
from training.labeling.prompts import Question

Decision = tuple[str, int]
"""Action and conviction."""


def self_agreement(questions: Iterable[Question], labels: Mapping[str, Answered], repeat: int) -> dict[str, Any]:
    """Return agreement over all pairs of answers to one prompt, for the prompts sampled `repeat` times.

    Includes the share with the same action and the mean absolute difference of convictions, with prompts weighted
    equally; None if no prompt has two answers.
    """
    decisions: dict[str, list[Decision]] = {}
    sampled = {one.prompt.hash for one in questions if one.repeat}
    unanswered = 0
    for one in questions:
        if one.prompt.hash not in sampled:
            continue
        if (label := labels.get(one.key)) is None or label.answer is None:
            unanswered += 1
            continue
        answer = json.loads(label.answer)
        decisions.setdefault(one.prompt.hash, []).append((answer["action"], answer["conviction"]))
    several = [answers for answers in decisions.values() if len(answers) > 1]
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


def rule_based_self_agreement(repeat: int) -> dict[str, Any]:
    """Return the rule-based analyst's self-agreement, which is exact by construction."""
    return {
        "repeats": repeat,
        "action_agreement": 1.0,
        "unanimous": 1.0,
        "conviction_mean_absolute_error": 0.0,
        "by_construction": f"{rules.MODEL_ID} is a function of the prompt",
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None
