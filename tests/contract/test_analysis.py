from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.analysis import LABELS, Evidence, read_analysis, without_scores, write_analysis
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Line, evidence
from app.contract.recommendation import FullAnswer
from app.contract.rule_based_analyst import answer, votes
from tests.contract.strategies import metrics as any_metrics


def analysis(metrics: Metrics) -> str:
    full = answer(metrics, "full")
    assert isinstance(full, FullAnswer)
    return full.analysis


def test_the_worked_example() -> None:
    assert analysis(EXAMPLE) == (
        "Evidence: IV skew puts dearer -1, put-call ratio 7.26 puts crowded +2, MACD positive +1, "
        "MACD histogram 0.63 positive +2, RSI firm +1, BBP upper half +1, SMA20 above +1, SMA50 above +1, "
        "SMA200 far above -1, EMA50 above +1, STOCH falling -1, TRIX rising +1, OBV buying +1, pivots under S1 -1. "
        "Balance +8: enough to buy."
    )
    first, second, *_, last = read_analysis(analysis(EXAMPLE))
    assert first == Evidence("bearish", "IV skew", None, "puts dearer", -1, -1)
    assert second == Evidence("bullish", "put-call ratio", "7.26", "puts crowded", 2, 1)
    assert last == Evidence("bearish", "pivots", None, "under S1", -1, 8)


@given(any_metrics())
def test_an_analysis_reads_back_as_the_votes_it_was_written_from(metrics: Metrics) -> None:
    lines, cast = evidence(metrics.values()), votes(metrics)
    found = read_analysis(analysis(metrics))
    assert [(item.metric, item.reading, item.vote) for item in found] == [
        (lines[vote.indicator].label, lines[vote.indicator].reading, vote.weight) for vote in cast
    ]
    assert [item.total for item in found] == list(accumulate(vote.weight for vote in cast))
    assert all((item.group == "bullish") == (item.vote > 0) for item in found)


@given(any_metrics())
def test_figures_are_cited_for_heavy_votes_only(metrics: Metrics) -> None:
    for item in read_analysis(analysis(metrics)):
        assert (item.value is not None) == (abs(item.vote) >= 2)


def test_there_may_be_no_evidence() -> None:
    text = write_analysis([], "too little to act")
    assert text == "Evidence: none. Balance 0: too little to act."
    assert read_analysis(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The stock looks bullish: RSI is firm (6) and MACD is positive.",
        "Evidence: sentiment good +1. Balance +1: too little to act.",
        "Evidence: RSI +1. Balance +1: too little to act.",
        "Evidence: RSI firm. Balance +1: too little to act.",
        "Evidence: RSI firm +0. Balance 0: too little to act.",
        "Evidence: none. Balance +1. Too little to act.",
        "Evidence: RSI firm +1. Balance +1: too little to act. And more.",
    ],
)
def test_other_formats_have_no_evidence(text: str) -> None:
    assert read_analysis(text) == []
    assert without_scores(text) == text


@given(
    st.text()
    | st.lists(st.sampled_from([*LABELS, "Evidence: ", ". ", ", ", " firm", " +2", "Balance +1: x."])).map("".join)
)
def test_any_text_is_read_without_an_error(text: str) -> None:
    for item in read_analysis(text):
        assert item.metric in LABELS


def test_scores_are_not_figures() -> None:
    text = write_analysis([(Line("RSI", ("74.2",), "overbought"), -3)], "too little to act")
    assert text == "Evidence: RSI 74.2 overbought -3. Balance -3: too little to act."
    assert [word for word in without_scores(text).split() if any(c.isdigit() for c in word)] == ["74.2"]
