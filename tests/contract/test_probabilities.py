"""The labels' probabilities, however a tokenizer splits the answer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import assume, given
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


def values(tokens: list[Token]) -> Mapping[Action, float]:
    found = label_probabilities(tokens)
    assert found is not None
    return found.values


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
    probabilities = values(tokens)
    text = "".join(token.token for token in tokens)
    after = text[text.rindex(f'"action":"{action}"') + len('"action":"') :]
    assert after.startswith(action)
    total = sum(masses.values())
    assert probabilities == pytest.approx({label: mass / total for label, mass in masses.items()})
    assert sum(probabilities.values()) == pytest.approx(1)


@given(splits(), actions)
def test_a_label_that_is_no_alternative_has_at_most_the_last_one_s_probability(
    split: tuple[list[Token], Action, dict[Action, float]], hidden: Action
) -> None:
    tokens, action, masses = split
    assume(hidden != action)
    seen = [chosen.model_copy(update={"top_logprobs": _without(chosen, hidden)}) for chosen in tokens]
    found = label_probabilities(seen)
    assert found is not None
    assert found.values[hidden] == 0
    total = sum(mass for label, mass in masses.items() if label != hidden)
    assert found.values == pytest.approx(
        {label: 0 if label == hidden else mass / total for label, mass in masses.items()}
    )
    assert found.bound is not None
    assert 0 < found.bound <= 1


def _without(chosen: Token, hidden: Action) -> list[Alternative]:
    """Return the alternatives without the one of the hidden label."""
    parts = tuple(hidden[:length] for length in range(1, len(hidden) + 1))
    return [
        other
        for other in chosen.top_logprobs or ()
        if other.token == chosen.token or not other.token.rstrip().endswith(parts)
    ]


SELL = {"sell": log(0.5), "buy": log(0.25), "hold": log(0.125), "the": log(0.1)}


def test_unlabelled_mass_is_left_out() -> None:
    tokens = [token('{"action":"'), token("sell", SELL), token('","conviction":7}')]
    assert values(tokens) == pytest.approx({"buy": 2 / 7, "sell": 4 / 7, "hold": 1 / 7})


def test_a_token_that_straddles_the_quote() -> None:
    alternatives = {'"s': log(0.6), '"b': log(0.2), '"ho': log(0.1), '"': log(0.05), "s": log(0.05)}
    tokens = [token('{"action":'), token('"s', alternatives), token('ell"')]
    assert values(tokens) == pytest.approx({"buy": 2 / 9, "sell": 6 / 9, "hold": 1 / 9})


def test_a_token_that_extends_beyond_the_value() -> None:
    alternatives = {'sell",': log(0.6), 'buy"': log(0.2), 'hold",': log(0.2), "holder": log(0.9)}
    tokens = [token('{"action":"'), token('sell",', alternatives), token('"conviction":7}')]
    assert values(tokens) == pytest.approx({"buy": 0.2, "sell": 0.6, "hold": 0.2})


def test_several_prefixes_of_a_label_are_added() -> None:
    alternatives = {"sell": log(0.3), "s": log(0.2), "se": log(0.1), "buy": log(0.2), "hold": log(0.2)}
    assert values([token('{"action": "'), token("sell", alternatives)]) == pytest.approx(
        {"buy": 0.2, "sell": 0.6, "hold": 0.2}
    )


def test_very_unlikely_labels_do_not_underflow() -> None:
    found = values([token('"action":"'), token("buy", {"buy": -2000.0, "sell": -2001.0, "hold": -3000.0})])
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
    assert values([token(head), token("sell", SELL), token(tail)]) == pytest.approx(
        {"buy": 2 / 7, "sell": 4 / 7, "hold": 1 / 7}
    )


def test_equal_texts_are_added() -> None:
    listed = [Alternative(token=text, logprob=log(mass)) for text, mass in [("sell", 0.3), ("buy", 0.2), ("sell", 0.1)]]
    chosen = Token(token="sell", logprob=log(0.3), top_logprobs=[*listed, Alternative(token="hold", logprob=log(0.4))])
    assert values([token('{"action":"'), chosen]) == pytest.approx({"buy": 0.2, "sell": 0.4, "hold": 0.4})


def test_actions_beyond_the_alternatives_leave_a_sure_answer() -> None:
    found = label_probabilities([token('{"action":"'), token("buy", {"buy": log(0.99), "Buy": log(0.008), "b": -20.0})])
    assert found is not None
    assert found.values == {"buy": 1, "sell": 0, "hold": 0}
    assert found.bound == pytest.approx(exp(-20) / (0.99 + exp(-20)))
