"""The labels' probabilities, however a tokenizer splits the answer."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.probabilities import Alternative, Token, label_probabilities
from app.contract.recommendation import ACTIONS, Action, BriefAnswer, FullAnswer, canonical

actions = st.sampled_from(ACTIONS)
analyses = st.text(min_size=1, max_size=60) | st.sampled_from(
    ['"action":"buy"', "action", 'say "action" : "sell', "\\", '","action":"hold', "naïve 涨 \U0001f600"]
)
weights = st.tuples(*[st.floats(0.001, 1.0)] * 3)


def token(text: str, alternatives: dict[str, float] | None = None) -> Token:
    others = [Alternative(token=other, logprob=logprob) for other, logprob in (alternatives or {}).items()]
    return Token(token=text, logprob=(alternatives or {}).get(text, -0.1), top_logprobs=others)


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[Token], Action, dict[Action, float]]:
    """An answer cut into tokens anywhere; where the value begins, an alternative of each label's first part."""
    action = draw(actions)
    answer = draw(
        st.builds(BriefAnswer, action=st.just(action), conviction=st.integers(1, 10))
        | st.builds(FullAnswer, analysis=analyses, action=st.just(action), conviction=st.integers(1, 10))
    )
    text = canonical(answer)
    value = text.rindex(f'"action":"{action}"') + len('"action":"')
    cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=30)))
    bounds = [0, *cuts, len(text)]
    at = next(place for place in range(len(bounds) - 1) if bounds[place] <= value < bounds[place + 1])
    start, end = bounds[at], bounds[at + 1]
    before = text[start:value]
    masses = dict(zip(ACTIONS, draw(weights), strict=True))
    alternatives = {before + label[: draw(st.integers(1, len(label)))]: log(masses[label]) for label in ACTIONS}
    alternatives = {other: mass for other, mass in alternatives.items() if not other.startswith(before + action[0])}
    alternatives[text[start:end]] = log(masses[action])
    noise = draw(st.dictionaries(st.sampled_from(["{", " ", "the", "Action", "\n", "\ufffd"]), st.just(-3.0)))
    tokens = [token(text[one:two]) for one, two in pairwise(bounds)]
    tokens[at] = token(text[start:end], noise | alternatives)
    return tokens, action, masses


@given(splits())
def test_the_labels_share_the_mass_they_were_given(split: tuple[list[Token], Action, dict[Action, float]]) -> None:
    tokens, action, masses = split
    probabilities = label_probabilities(tokens)
    text = "".join(token.token for token in tokens)
    after = text[text.rindex(f'"action":"{action}"') + len('"action":"') :]
    assert after.startswith(action)
    total = sum(masses.values())
    assert probabilities is not None
    assert probabilities == pytest.approx({label: mass / total for label, mass in masses.items()})
    assert sum(probabilities.values()) == pytest.approx(1)


@given(splits(), actions)
def test_a_label_that_is_no_alternative_leaves_none(
    split: tuple[list[Token], Action, dict[Action, float]], hidden: Action
) -> None:
    tokens, action, _ = split
    seen = [
        Token(
            token=chosen.token,
            logprob=chosen.logprob,
            top_logprobs=[
                other
                if not _begins(other.token, chosen.token, action, hidden)
                else Alternative(token=other.token, logprob=-9999.0)
                for other in chosen.top_logprobs
            ],
        )
        for chosen in tokens
    ]
    if hidden == action:
        seen = [Token(token=chosen.token, logprob=-9999.0, top_logprobs=chosen.top_logprobs) for chosen in seen]
    assert label_probabilities(seen) is None


def _begins(other: str, chosen: str, action: Action, hidden: Action) -> bool:
    """Whether an alternative is the one that was given for the hidden label."""
    return other == chosen if hidden == action else other.rstrip().endswith(tuple(_parts(hidden)))


def _parts(label: str) -> list[str]:
    return [label[:length] for length in range(1, len(label) + 1)]


SELL = {"sell": log(0.5), "buy": log(0.25), "hold": log(0.125), "the": log(0.1)}


def test_unlabelled_mass_is_left_out() -> None:
    tokens = [token('{"action":"'), token("sell", SELL), token('","conviction":7}')]
    assert label_probabilities(tokens) == pytest.approx({"buy": 2 / 7, "sell": 4 / 7, "hold": 1 / 7})


def test_a_token_that_straddles_the_quote() -> None:
    alternatives = {'"s': log(0.6), '"b': log(0.2), '"ho': log(0.1), '"': log(0.05), "s": log(0.05)}
    tokens = [token('{"action":'), token('"s', alternatives), token('ell"')]
    assert label_probabilities(tokens) == pytest.approx({"buy": 2 / 9, "sell": 6 / 9, "hold": 1 / 9})


def test_a_token_that_extends_beyond_the_value() -> None:
    alternatives = {'sell",': log(0.6), 'buy"': log(0.2), 'hold",': log(0.2), "holder": log(0.9)}
    tokens = [token('{"action":"'), token('sell",', alternatives), token('"conviction":7}')]
    assert label_probabilities(tokens) == pytest.approx({"buy": 0.2, "sell": 0.6, "hold": 0.2})


def test_several_prefixes_of_a_label_are_added() -> None:
    alternatives = {"sell": log(0.3), "s": log(0.2), "se": log(0.1), "buy": log(0.2), "hold": log(0.2)}
    assert label_probabilities([token('{"action": "'), token("sell", alternatives)]) == pytest.approx(
        {"buy": 0.2, "sell": 0.6, "hold": 0.2}
    )


def test_very_unlikely_labels_do_not_underflow() -> None:
    found = label_probabilities([token('"action":"'), token("buy", {"buy": -2000.0, "sell": -2001.0, "hold": -3000.0})])
    assert found == pytest.approx({"buy": 1 / (1 + exp(-1)), "sell": exp(-1) / (1 + exp(-1)), "hold": 0.0})


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [token("buy", SELL)],
        [token('{"action":"')],
        [token('{"action":"'), token("sell")],
        [token('{\\"action\\":\\"'), token("sell", SELL)],
        [token('{"act'), token('ion":'), token('"')],
    ],
)
def test_no_value_no_probabilities(tokens: list[Token]) -> None:
    assert label_probabilities(tokens) is None


def test_the_analysis_is_not_taken_for_the_action() -> None:
    analysis = FullAnswer(analysis='They say "action":"buy" a lot', action="sell", conviction=3)
    head, tail = canonical(analysis).rsplit("sell", 1)
    assert label_probabilities([token(head), token("sell", SELL), token(tail)]) == pytest.approx(
        {"buy": 2 / 7, "sell": 4 / 7, "hold": 1 / 7}
    )
