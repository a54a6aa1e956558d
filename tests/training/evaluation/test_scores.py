from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.recommendation import ACTIONS, Action
from tests.training.evaluation.examined import examined
from training.evaluation.scores import OUTCOMES, scores


def test_a_failure_counts_as_wrong_and_never_as_hold() -> None:
    found = scores([examined("hold", "hold", convictions=(5, 4)), examined("hold", None)])
    assert found["agreement"]["value"] == 0.5
    assert found["confusion"]["hold"] == {"buy": 0, "sell": 0, "hold": 1, "failed": 1}
    assert found["failures"] == {"length": 1}
    assert found["classes"]["hold"]["recall"] == 0.5
    assert found["conviction"]["n"] == 1
    assert found["conviction"]["mean_absolute_error"] == 1


def test_precision_recall_and_kappa_are_those_of_the_confusion() -> None:
    rows = [
        *[examined("buy", "buy")] * 8,
        *[examined("buy", "hold")] * 2,
        *[examined("hold", "buy")] * 4,
        *[examined("hold", "hold")] * 6,
    ]
    found = scores(rows)
    assert found["classes"]["buy"] == {"precision": 0.6667, "recall": 0.8, "f1": 0.7273, "support": 10}
    assert found["classes"]["sell"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert found["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert found["majority_baseline"]["value"] == 0.5


def test_conviction_is_compared_with_the_teachers() -> None:
    pairs = [(2, 3), (4, 4), (6, 7), (8, 10)]
    found = scores([examined("buy", "buy", convictions=pair) for pair in pairs])["conviction"]
    assert found["mean_absolute_error"] == 1
    assert found["within_one"] == 0.75
    assert found["spearman"] == 1
    assert 0.8 < found["quadratic_kappa"] < 1


def test_agreement_by_missing_metrics() -> None:
    rows = [examined("buy", "buy", missing=0), examined("buy", "sell", missing=12), examined("buy", "buy", missing=34)]
    found = {(part["least"], part["most"]): part["agreement"]["value"] for part in scores(rows)["by_missing"]}
    assert found == {(0, 0): 1, (10, 34): 0.5}


def test_a_model_right_as_often_as_it_says_is_calibrated() -> None:
    sure = [examined("buy", "buy", probabilities=(0.75, 0.125, 0.125))] * 3
    found = scores([*sure, examined("sell", "buy", probabilities=(0.75, 0.125, 0.125))])["calibration"]["probabilities"]
    assert found["ece"] == 0
    assert found["points"][0] | {"low": 0, "high": 1} == {
        "group": 7, "n": 4, "stated": 0.75, "agreement": 0.75, "low": 0, "high": 1
    }  # fmt: skip
    right, wrong = 0.25**2 + 2 * 0.125**2, 0.75**2 + 0.875**2 + 0.125**2
    assert found["brier"] == pytest.approx((3 * right + wrong) / 4, abs=1e-4)


actions = st.sampled_from(ACTIONS)


@given(st.lists(st.tuples(actions, st.none() | actions, st.integers(1, 10), st.integers(1, 10)), min_size=1))
def test_any_answers_have_scores(predicted: list[tuple[Action, Action | None, int, int]]) -> None:
    found = scores([examined(t, s, convictions=(a, b), ticker=f"T{i % 3}") for i, (t, s, a, b) in enumerate(predicted)])
    assert json.loads(json.dumps(found, allow_nan=False)) is not None
    assert sum(found["confusion"][t][s] for t in ACTIONS for s in OUTCOMES) == len(predicted)
    hits = sum(found["confusion"][t][t] for t in ACTIONS)
    assert found["agreement"]["value"] == pytest.approx(hits / len(predicted), abs=1e-4)
