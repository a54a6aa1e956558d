from __future__ import annotations

from math import log

import pytest
from hypothesis import given

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE, SPARSE
from app.contract.probabilities import Token
from app.contract.recommendation import FullAnswer
from tests.contract.strategies import metrics as any_metrics
from training.labeling.soft_labels import soft_label, stated_probabilities, stated_votes


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


def _token(text: str, **others: float) -> Token:
    """Return a token whose alternatives have the given probabilities."""
    top = [{"token": other, "logprob": log(share)} for other, share in others.items()]
    return Token.model_validate({"token": text, "logprob": log(others.get(text, 1.0)), "top_logprobs": top})


def test_a_models_probabilities_are_those_of_its_alternatives() -> None:
    tokens = [
        _token('{"action":"'),
        _token("sell", sell=0.6, hold=0.2, s=0.1, nothing=0.1),
        _token('","conviction":'),
        _token("7", **{"7": 0.5, "10": 0.3, "11": 0.1, "seven": 0.1}),
        _token("}"),
    ]
    found = stated_probabilities(tokens)
    assert found["action"] == pytest.approx({"sell": 0.7 / 0.9, "hold": 0.2 / 0.9}, abs=1e-3)
    assert found["conviction"] == pytest.approx({"7": 0.625, "10": 0.375}, abs=1e-3)


def test_a_digit_may_follow_the_colon_in_its_token() -> None:
    tokens = [_token('{"action":"buy","conviction"'), _token(":4", **{":4": 0.75, ":5": 0.25}), _token("}")]
    assert stated_probabilities(tokens) == {"conviction": pytest.approx({"4": 0.75, "5": 0.25}, abs=1e-3)}


def test_tokens_without_alternatives_state_nothing() -> None:
    assert stated_probabilities([Token(token='{"action":"buy","conviction":4}', logprob=0.0)]) == {}
    assert stated_probabilities([]) == {}


@given(any_metrics())
def test_the_votes_that_an_analysis_lists_are_the_analysts(metrics: Metrics) -> None:
    answer = rules.answer(metrics, "full")
    assert isinstance(answer, FullAnswer)
    assert stated_votes(answer.analysis) == soft_label(metrics)["votes"]


def test_another_analysis_lists_no_votes() -> None:
    assert stated_votes("The trend is up, and so I would buy.") == {}
