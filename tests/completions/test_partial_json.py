"""The analysis of incomplete JSON: returned completely and once, however the text is split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.completions.partial_json import PartialJson
from app.contract.recommendation import ANALYSIS_MAX, FullAnswer, canonical

analyses = st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable() or "\n" in text)


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@given(analyses, st.lists(st.integers(min_value=0), max_size=40))
def test_the_pieces_concatenate_to_the_analysis(analysis: str, cuts: list[int]) -> None:
    written = canonical(FullAnswer(analysis=analysis, action="buy", conviction=7))
    partial = PartialJson()
    assert "".join(partial.add(piece) for piece in pieces(written, cuts)) == analysis


def test_a_character_is_returned_as_soon_as_it_is_written() -> None:
    partial = PartialJson()
    assert [partial.add(text) for text in ('{"ana', 'lysis":"', "RSI ", "\\u00", "e9", '","action":"buy"')] == [
        *("", "", "RSI ", "", "é", ""),
    ]


@given(st.text(max_size=80))
def test_invalid_text_yields_nothing_or_a_part_of_itself(text: str) -> None:
    assert len(PartialJson().add(text)) <= len(text)


def test_a_brief_answer_has_no_analysis() -> None:
    assert PartialJson().add('{"action":"buy","conviction":7}') == ""


def test_the_longest_analysis_is_returned_in_full() -> None:
    partial, analysis = PartialJson(), "x" * ANALYSIS_MAX
    written = canonical(FullAnswer(analysis=analysis, action="hold", conviction=1))
    assert "".join(map(partial.add, written)) == analysis
