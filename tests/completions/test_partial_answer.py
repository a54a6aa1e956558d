"""The decision and the analysis of incomplete JSON: returned completely and once, however the text is split."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.completions.partial_answer import PartialAnswer
from app.contract.recommendation import ACTIONS, ANALYSIS_MAX, BriefAnswer, FullAnswer, canonical

analyses = st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable() or "\n" in text)
BUY = BriefAnswer(action="buy", conviction=7)


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def parts(texts: Iterable[str]) -> list[BriefAnswer | str]:
    partial = PartialAnswer()
    return [part for text in texts for part in partial.add(text)]


@given(analyses, st.sampled_from(ACTIONS), st.integers(1, 10), st.lists(st.integers(min_value=0), max_size=40))
def test_the_decision_comes_first_and_the_pieces_concatenate_to_the_analysis(
    analysis: str, action: str, conviction: int, cuts: list[int]
) -> None:
    answer = FullAnswer.model_validate({"action": action, "conviction": conviction, "analysis": analysis})
    decision, *rest = parts(pieces(canonical(answer), cuts))
    assert decision == BriefAnswer(action=answer.action, conviction=conviction)
    assert "".join(map(str, rest)) == analysis


def test_a_part_is_returned_as_soon_as_it_is_written() -> None:
    partial = PartialAnswer()
    written = ('{"action":"buy"', ',"conviction":7', ',"analysis":"', "RSI ", "\\u00", "e9", '"}')
    assert [list(partial.add(text)) for text in written] == [[], [], [BUY], ["RSI "], [], ["é"], []]


@given(st.text(max_size=80))
def test_invalid_text_yields_nothing(text: str) -> None:
    assert parts([text]) == []


@pytest.mark.parametrize(
    "before", ["", '"action":"wait","conviction":7,', '"action":"buy","conviction":11,', '"action":"buy",']
)
def test_without_a_valid_decision_before_it_the_analysis_is_returned_alone(before: str) -> None:
    assert parts([f'{{{before}"analysis":"RSI', ' is firm","action":"buy","conviction":7}']) == ["RSI", " is firm"]


def test_a_brief_answer_has_no_analysis() -> None:
    assert parts([canonical(BUY)]) == []


def test_the_longest_analysis_is_returned_in_full() -> None:
    analysis = "x" * ANALYSIS_MAX
    written = canonical(FullAnswer(analysis=analysis, action="hold", conviction=1))
    assert "".join(map(str, parts(written)[1:])) == analysis
