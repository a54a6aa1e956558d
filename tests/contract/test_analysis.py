from __future__ import annotations

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
        "Bullish: put-call ratio 7.26 puts crowded (2), MACD positive (3), MACD histogram 0.63 positive (5), "
        "RSI firm (6), BBP upper half (7), SMA20 above (8), SMA50 above (9), EMA50 above (10), TRIX rising (11), "
        "OBV buying (12). Bearish: IV skew puts dearer (1), SMA200 far above (2), STOCH falling (3), "
        "pivots under S1 (4). Balance +8: enough to buy."
    )
    first, *_, last = read_analysis(analysis(EXAMPLE))
    assert first == Evidence("bullish", "put-call ratio", "7.26", "puts crowded", 2, 2)
    assert last == Evidence("bearish", "pivots", None, "under S1", -1, 4)


@given(any_metrics())
def test_an_analysis_reads_back_as_the_votes_it_was_written_from(metrics: Metrics) -> None:
    lines, cast = evidence(metrics.values()), votes(metrics)
    found = read_analysis(analysis(metrics))
    assert sorted((item.metric, item.reading, item.vote) for item in found) == sorted(
        (lines[vote.indicator].label, lines[vote.indicator].reading, vote.weight) for vote in cast
    )
    for group in ("bullish", "bearish"):
        side = [item for item in found if item.group == group]
        assert [item.total for item in side] == [sum(abs(i.vote) for i in side[: n + 1]) for n in range(len(side))]


@given(any_metrics())
def test_figures_are_cited_for_heavy_votes_only(metrics: Metrics) -> None:
    for item in read_analysis(analysis(metrics)):
        assert (item.value is not None) == (abs(item.vote) >= 2)


def test_both_sides_may_be_empty() -> None:
    text = write_analysis([], "too little to act")
    assert text == "Bullish: none. Bearish: none. Balance 0: too little to act."
    assert read_analysis(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Votes and the count so far: MACD 10.4 positive +1 (1). Bulls lead by 1: too little to act.",
        "The stock looks bullish: RSI is firm (6) and MACD is positive.",
        "Bullish: sentiment good (1). Bearish: none. Balance +1: too little to act.",
        "Bullish: RSI firm. Bearish: none. Balance +1: too little to act.",
        "Bullish: RSI firm (1). Bearish: none. Balance +1: too little to act. And more.",
    ],
)
def test_other_formats_have_no_evidence(text: str) -> None:
    assert read_analysis(text) == []
    assert without_scores(text) == text


@given(
    st.text()
    | st.lists(st.sampled_from([*LABELS, "Bullish: ", "Bearish: ", ". ", ", ", " (1)", "Balance +1: x."])).map("".join)
)
def test_any_text_is_read_without_an_error(text: str) -> None:
    for item in read_analysis(text):
        assert item.metric in LABELS


def test_scores_are_not_figures() -> None:
    text = write_analysis([(Line("RSI", ("74.2",), "overbought"), -3)], "too little to act")
    assert text == "Bullish: none. Bearish: RSI 74.2 overbought (3). Balance -3: too little to act."
    assert [word for word in without_scores(text).split() if any(c.isdigit() for c in word)] == ["74.2"]
