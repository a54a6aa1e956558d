"""The tokens of the stand-in's answers."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.recommendation import ACTIONS, Action, BriefAnswer, FullAnswer, canonical
from app.stand_in.tokens import action_probabilities, answer_tokens, split, text_tokens

answers = st.builds(BriefAnswer, action=st.sampled_from(ACTIONS), conviction=st.integers(1, 10)) | st.builds(
    FullAnswer,
    analysis=st.text(min_size=1, max_size=80) | st.sampled_from(['"action":"sell"', "buy, sell or hold"]),
    action=st.sampled_from(ACTIONS),
    conviction=st.integers(1, 10),
)


@given(st.text())
def test_splitting_loses_no_character(text: str) -> None:
    assert "".join(split(text)) == text
    assert all(len(token) <= 9 for token in split(text))


@given(answers)
def test_the_action_s_alternatives_are_all_actions(answer: BriefAnswer | FullAnswer) -> None:
    tokens = answer_tokens(answer)
    assert "".join(token.text for token in tokens) == canonical(answer)
    (decision,) = [token for token in tokens if set(ACTIONS) <= {text for text, _ in token.alternatives}]
    assert decision.text == answer.action
    probabilities = {text: exp(logprob) for text, logprob in decision.alternatives}
    assert {label: probabilities[label] for label in ACTIONS} == pytest.approx(
        action_probabilities(answer.action, answer.conviction)
    )


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("conviction", range(1, 11))
def test_the_answer_s_action_is_the_likeliest(action: Action, conviction: int) -> None:
    probabilities = action_probabilities(action, conviction)
    assert max(probabilities, key=probabilities.__getitem__) == action
    assert sum(probabilities.values()) < 1


@given(st.text(min_size=1, max_size=20), st.integers(0, 20))
def test_alternatives_are_the_likeliest_first(text: str, top: int) -> None:
    for token in text_tokens(text):
        listed = [other["logprob"] for other in token.document(top)["top_logprobs"]]
        assert len(listed) == top
        assert listed == sorted(listed, reverse=True)
        assert sum(map(exp, listed)) < 1
