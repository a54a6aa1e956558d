from __future__ import annotations

import json

import pytest

from training.labeling.journal import Answered
from training.labeling.prompts import Question
from training.labeling.self_agreement import self_agreement

from .conftest import question


def labels_of(sampled: list[Question], answers: dict[str, list[tuple[str, int] | None]]) -> dict[str, Answered]:
    """Labels by the ticker of the prompt: one for each time that it was asked."""
    labels = {}
    for one in sampled:
        answer = answers[one.prompt.ticker][one.repeat]
        if answer:
            text = json.dumps({"action": answer[0], "conviction": answer[1]})
            labels[one.key] = Answered(call="c", key=one.key, answer=text)
    return labels


def test_agreement_is_over_pairs_of_answers_to_one_prompt() -> None:
    sampled = [question(ticker, repeat=time) for ticker in "AB" for time in range(3)] + [question("C")]
    found = self_agreement(
        sampled,
        labels_of(
            sampled,
            {
                "A": [("buy", 5), ("buy", 5), ("hold", 8)],
                "B": [("sell", 2), ("sell", 2), ("sell", 2)],
                "C": [("buy", 1)],
            },
        ),
        3,
    )
    assert found == {
        "repeats": 3,
        "prompts": 2,
        "unanswered": 0,
        "action_agreement": pytest.approx((1 / 3 + 1) / 2, abs=1e-4),
        "unanimous": 0.5,
        "conviction_mean_absolute_error": 1.0,
    }


def test_what_is_not_answered_is_counted_and_not_compared() -> None:
    sampled = [question(ticker, repeat=time) for ticker in "AB" for time in range(2)]
    answers: dict[str, list[tuple[str, int] | None]] = {"A": [("buy", 5), None], "B": [("buy", 5), ("buy", 6)]}
    found = self_agreement(sampled, labels_of(sampled, answers), 2)
    assert (found["prompts"], found["unanswered"], found["action_agreement"]) == (1, 1, 1)


def test_nothing_to_compare_is_null() -> None:
    assert self_agreement([question()], {}, 2)["action_agreement"] is None
