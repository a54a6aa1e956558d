"""The tokens the stand-in speaks in."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.recommendation import ACTIONS, Action, BriefAnswer, FullAnswer, canonical
from app.stand_in.speech import pieces, shares, utter, utter_plainly

answers = st.builds(BriefAnswer, action=st.sampled_from(ACTIONS), conviction=st.integers(1, 10)) | st.builds(
    FullAnswer,
    analysis=st.text(min_size=1, max_size=80) | st.sampled_from(['"action":"sell"', "buy, sell or hold"]),
    action=st.sampled_from(ACTIONS),
    conviction=st.integers(1, 10),
)


@given(st.text())
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(len(piece) <= 9 for piece in pieces(text))


@given(answers)
def test_the_labels_are_weighed_where_the_action_stands(answer: BriefAnswer | FullAnswer) -> None:
    spoken = utter(answer)
    assert "".join(token.text for token in spoken) == canonical(answer)
    (weighed,) = [token for token in spoken if set(ACTIONS) <= {text for text, _ in token.alternatives}]
    assert weighed.text == answer.action
    given_back = {text: exp(logprob) for text, logprob in weighed.alternatives}
    assert {label: given_back[label] for label in ACTIONS} == pytest.approx(shares(answer.action, answer.conviction))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("conviction", range(1, 11))
def test_the_answer_is_its_likeliest(action: Action, conviction: int) -> None:
    weighed = shares(action, conviction)
    assert max(weighed, key=weighed.__getitem__) == action
    assert sum(weighed.values()) < 1


@given(st.text(min_size=1, max_size=20), st.integers(0, 20))
def test_alternatives_are_the_likeliest_first(text: str, top: int) -> None:
    for token in utter_plainly(text):
        listed = [other["logprob"] for other in token.document(top)["top_logprobs"]]
        assert len(listed) == top
        assert listed == sorted(listed, reverse=True)
        assert sum(map(exp, listed)) < 1
