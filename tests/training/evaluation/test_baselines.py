from __future__ import annotations

import random
from pathlib import Path

import pytest

from app.contract.recommendation import Action
from tests.training.evaluation.examined import examined
from training.artifacts import write_rows
from training.config.finetune import Pairs
from training.evaluation.baselines import (
    BASELINES,
    CURVES,
    TrainingSet,
    curve,
    figures,
    predictions,
    read_training_set,
)
from training.evaluation.rows import Row
from training.evaluation.scores import scores


def action(rsi: float) -> Action:
    """A teacher of one metric, contrarian, so that a straight line through it does not do."""
    return "hold" if 30 <= rsi <= 70 else "buy" if rsi < 30 else "sell"


def trained_on(count: int) -> TrainingSet:
    draw = random.Random(0)
    values = [{"RSI_14": draw.uniform(0, 100), "MFI_14": draw.uniform(0, 100)} for _ in range(count)]
    return TrainingSet(values, [action(one["RSI_14"]) for one in values], frozenset({"A"}))


def pairs(count: int) -> list[Row]:
    draw = random.Random(9)
    levels = [draw.uniform(0, 100) for _ in range(count)]
    return [examined(action(rsi), None, rsi=rsi, ticker=f"T{i}") for i, rsi in enumerate(levels)]


def agreement(rows: list[Row]) -> float:
    return float(scores(rows)["agreement"]["value"])


def test_each_baseline_answers_the_same_questions() -> None:
    questions = pairs(200)
    found = predictions(trained_on(400), questions)
    assert found.keys() == BASELINES.keys()
    for name, predicted in found.items():
        assert [row.key for row in predicted] == [row.key for row in questions]
        assert {row.model for row in predicted} == {name}
        assert not any(row.failure or row.probabilities or row.predicted_conviction for row in predicted)
    assert agreement(found["gradient boosting"]) > 0.95
    assert agreement(found["logistic regression on readings"]) > 0.95
    assert agreement(found["majority"]) < 0.6
    assert agreement(found["stratified random"]) < 0.6


def test_the_majority_is_the_training_pairs() -> None:
    train = TrainingSet([{"RSI_14": 1.0}] * 3, ["sell", "sell", "buy"], frozenset())
    assert {row.predicted for row in predictions(train, pairs(20))["majority"]} == {"sell"}


def test_a_metric_that_training_did_not_have_is_left_out() -> None:
    """Nothing of the test pairs, not even which metrics they have, shapes what is trained_on."""
    train = trained_on(40)
    assert train.names == ["RSI_14", "MFI_14"]
    assert figures([{"RSI_14": 1.0, "price": 2.0}], train.names).shape == (1, 2)
    questions = [row.model_copy(update={"metrics": {**row.metrics, "price": 9.0}}) for row in pairs(20)]
    assert [r.predicted for r in predictions(train, questions)["gradient boosting"]] == [
        r.predicted for r in predictions(train, pairs(20))["gradient boosting"]
    ]


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_learns_from_the_first_pairs_only(name: str) -> None:
    train, questions = trained_on(600), pairs(200)
    points = curve(name, train, questions, (400, 50, 6000))
    assert [point["pairs"] for point in points] == [50, 400, 600]
    assert points[0]["agreement"] == curve(name, train.first(50), questions, ())[0]["agreement"]
    assert points[0]["agreement"]["value"] <= points[-1]["agreement"]["value"]


def test_a_size_of_one_action_is_no_point() -> None:
    train = TrainingSet([{"RSI_14": float(i)} for i in range(4)], ["buy", "buy", "buy", "sell"], frozenset())
    assert [point["pairs"] for point in curve("gradient boosting", train, pairs(10), (2,))] == [4]


LINE = {
    "ticker": "A",
    "as_of": "2024-03-08",
    "detail": "brief",
    "metrics": {"price": 10.0, "technicals": {"RSI_14": 20.0, "MFI_14": 30.0}},
    "action": "buy",
}


def test_training_pairs_are_read_once_each(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, [LINE, {**LINE, "detail": "full"}, {**LINE, "ticker": "B", "action": "sell"}])
    found = read_training_set(path)
    assert found.actions == ["buy", "sell"]
    assert found.tickers == {"A", "B"}
    assert found.values[0] == {"price": 10, "RSI_14": 20, "MFI_14": 30}


def test_only_the_model_s_training_pairs_are_read(tmp_path: Path) -> None:
    path, line = tmp_path / "train.jsonl", {**LINE, "action": "hold"}
    details = [("A", "full"), ("B", "brief"), ("C", "full"), ("D", "brief"), ("E", "brief")]
    write_rows(path, [{**line, "ticker": ticker, "detail": detail} for ticker, detail in details] + [LINE])
    assert read_training_set(path).tickers == {"A", "B", "C", "D", "E"}
    with pytest.raises(ValueError, match="cannot train on 3 pairs of 1 action"):
        read_training_set(path, Pairs(brief=2, full=1))
    assert read_training_set(path, Pairs(brief=4, full=0)).tickers == {"A", "B", "D", "E"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"action": "maybe"}, "line 2: action: 'maybe'"),
        ({"metrics": {"price": -1.0, "technicals": {"RSI_14": 20.0, "MFI_14": 30.0}}}, r"line 2: (.|\n)*price"),
        ({"ticker": None}, "line 2: 'ticker' is missing"),
        ({}, "cannot train on 1 pairs of 1 action"),
    ],
)
def test_what_cannot_be_trained_on_is_named(tmp_path: Path, spoil: dict[str, object], message: str) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, [LINE, {name: value for name, value in {**LINE, **spoil}.items() if value is not None}])
    with pytest.raises(ValueError, match=rf"train\.jsonl(, |: action: ){message}"):
        read_training_set(path)
