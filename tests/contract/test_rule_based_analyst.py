from __future__ import annotations

import pytest
from hypothesis import given

from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import evidence
from app.contract.readings import SCALES, readings
from app.contract.recommendation import ANALYSIS_MAX, BriefAnswer, FullAnswer
from app.contract.rule_based_analyst import ACT_AT, VOTES, answer, conviction, votes
from tests.contract.strategies import metrics as any_metrics


def test_the_worked_example() -> None:
    full = answer(EXAMPLE, "full")
    assert isinstance(full, FullAnswer)
    assert (full.action, full.conviction) == ("buy", 5)
    assert full.analysis.endswith("Balance +8: enough to buy.")


@given(any_metrics())
def test_brief_and_full_agree(metrics: Metrics) -> None:
    brief, full = answer(metrics, "brief"), answer(metrics, "full")
    assert brief == BriefAnswer(action=full.action, conviction=full.conviction)


@given(any_metrics())
def test_the_lead_makes_the_action(metrics: Metrics) -> None:
    lead = sum(vote.weight for vote in votes(metrics))
    expected = "buy" if lead >= ACT_AT else "sell" if lead <= -ACT_AT else "hold"
    assert answer(metrics, "brief").action == expected


@given(any_metrics())
def test_the_analysis_cites_only_what_the_prompt_shows(metrics: Metrics) -> None:
    full = answer(metrics, "full")
    assert isinstance(full, FullAnswer)
    assert len(full.analysis) <= ANALYSIS_MAX
    lines = evidence(metrics.values())
    for vote in votes(metrics):
        assert lines[vote.indicator].label in full.analysis
        assert lines[vote.indicator].reading in full.analysis


def test_every_vote_is_for_a_reading_that_exists() -> None:
    for name, votes_of in VOTES.items():
        if name in SCALES:
            assert votes_of.keys() <= set(SCALES[name].words), name


def test_a_trend_doubles_the_fifty_day_average() -> None:
    weights = {}
    for adx in (10.0, 40.0):
        metrics = Metrics.model_validate({"price": 11.0, "technicals": {"SMA_50": 10.0, "ADX_14": adx}})
        (vote,) = votes(metrics)
        weights[adx] = vote.weight
    assert weights == {10.0: 1, 40.0: 2}


@pytest.mark.parametrize(
    ("lead", "high_iv", "reading_count", "expected"),
    [(0, False, 20, 7), (-4, False, 20, 3), (5, False, 20, 4), (-12, False, 20, 8), (30, False, 20, 10),
     (12, True, 20, 7), (30, False, 3, 2), (0, False, 0, 1)],
)  # fmt: skip
def test_conviction_grows_with_the_lead_and_falls_with_iv_and_missing_readings(
    lead: int, high_iv: bool, reading_count: int, expected: int
) -> None:
    action = "hold" if abs(lead) < ACT_AT else "buy" if lead > 0 else "sell"
    assert conviction(action, lead, high_iv, reading_count) == expected


def test_missing_metrics_do_not_vote() -> None:
    metrics = Metrics.model_validate({"price": 10.0, "options": {"call_volume": 5, "call_open_interest": 3}})
    assert readings(metrics.values()) == {}
    assert answer(metrics, "brief") == BriefAnswer(action="hold", conviction=1)
