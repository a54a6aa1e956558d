from __future__ import annotations

import pytest
from hypothesis import given

from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.readings import JOINT, SCALES, Scale, readings
from tests.contract.strategies import metrics as any_metrics


def test_a_bound_belongs_to_the_interval_above_it() -> None:
    scale = Scale("low", 30, "mid", 70, "high")
    assert [scale(x) for x in (29.9, 30, 69.9, 70)] == ["low", "mid", "mid", "high"]


@pytest.mark.parametrize("name", SCALES)
def test_scales_ascend_and_have_a_word_for_each_interval(name: str) -> None:
    scale = SCALES[name]
    assert scale.bounds == sorted(scale.bounds)
    assert len(scale.words) == len(scale.bounds) + 1


def test_the_worked_example_has_the_case_study_s_readings() -> None:
    words = readings(EXAMPLE.values())
    assert words["iv_skew"] == "puts dearer"
    assert words["put_call_ratio"] == "puts crowded"
    assert words["RSI_14"] == "firm"
    assert words["BBP_20_2.0"] == "upper half"
    assert words["SMA_50"] == "above"
    assert words["pivots"] == "under S1"


@pytest.mark.parametrize(
    ("price", "word"),
    [(8.9, "under S2"), (9.4, "under S1"), (9.9, "under pivot"), (10.1, "over pivot"), (10.9, "over R1"),
     (12, "over R2")],
)  # fmt: skip
def test_pivots_place_the_price(price: float, word: str) -> None:
    levels = {"S2": 9, "S1": 9.5, "PIVOT": 10, "R1": 10.5, "R2": 11}
    assert readings(Metrics.model_validate({"price": price, "technicals": levels}).values())["pivots"] == word


@given(any_metrics())
def test_a_reading_needs_its_metrics(metrics: Metrics) -> None:
    known = metrics.values()
    words = readings(known)
    assert {name for name in SCALES if name in known} == words.keys() & SCALES.keys()
    if "price" not in known:
        assert not words.keys() & {"SMA_20", "SMA_50", "SMA_200", "EMA_50", "pivots"}
    assert all(words[name] for name in words.keys() & JOINT.keys())
