from __future__ import annotations

import pytest
from hypothesis import given

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE, SPARSE
from tests.contract.strategies import metrics as any_metrics
from training.labeling.soft_labels import soft_label


@given(any_metrics())
def test_the_label_is_the_likeliest_and_probabilities_sum_to_one(metrics: Metrics) -> None:
    soft, answer = soft_label(metrics), rules.answer(metrics, "brief")
    assert max(soft["action"], key=soft["action"].get) == answer.action
    assert soft["conviction"][str(answer.conviction)] >= max(soft["conviction"].values()) / 2
    for name in ("action", "conviction"):
        assert sum(soft[name].values()) == pytest.approx(1, abs=1e-3)
    assert sum(soft["votes"].values()) == sum(vote.weight for vote in rules.votes(metrics))


def test_an_answer_near_the_bound_is_less_certain() -> None:
    assert soft_label(EXAMPLE)["action"]["buy"] > 0.95  # a lead of 8, where 5 acts
    assert soft_label(SPARSE)["action"]["hold"] < 0.99
    assert soft_label(SPARSE)["votes"] == {"RSI": 3, "MFI": 1, "OBV": -2}
