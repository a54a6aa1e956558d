from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE, SPARSE
from app.contract.prompt import Detail, messages
from app.contract.recommendation import BriefAnswer
from tests.contract.strategies import metrics as any_metrics
from tests.training.evaluation.examined import examined
from training.evaluation.consistency import perturbations, reordered, rounded, stability
from training.evaluation.pairs import Pair


def pair(metrics: Metrics, ticker: str = "SNPS") -> Pair:
    return Pair(ticker, metrics, rules.answer(metrics, "brief"))


@given(any_metrics(), st.integers(0, 9))
@settings(max_examples=50)
def test_another_order_is_the_same_prompt(metrics: Metrics, seed: int) -> None:
    other = reordered(pair(metrics), random.Random(seed))
    details: tuple[Detail, ...] = ("brief", "full")
    for detail in details:
        assert messages(other.metrics, "SNPS", detail) == messages(metrics, "SNPS", detail)


def test_rounding_leaves_the_readings_of_figures_off_a_bound() -> None:
    other = rounded(pair(EXAMPLE), random.Random(0)).metrics
    assert other.price == 571.3
    assert other.options.put_open_interest == 11690
    assert isinstance(other.options.put_open_interest, int)
    assert messages(other, None, "brief") == messages(EXAMPLE, None, "brief")


@given(any_metrics())
@settings(max_examples=50)
def test_rounded_metrics_are_still_metrics(metrics: Metrics) -> None:
    assert rounded(pair(metrics), random.Random(0)).metrics.missing() == metrics.missing()


def test_a_swapped_ticker_is_another_one() -> None:
    found = perturbations([pair(EXAMPLE, "A"), pair(SPARSE, "B")])
    assert [(p.ticker, p.metrics) for p in found["swapped ticker"]] == [("B", EXAMPLE), ("A", SPARSE)]
    assert found.keys() == {"reordered", "rounded", "swapped ticker", "no ticker"}
    assert [(p.ticker, p.metrics, p.blind) for p in found["no ticker"]] == [("A", EXAMPLE, True), ("B", SPARSE, True)]
    assert perturbations([pair(EXAMPLE)])["swapped ticker"][0].ticker != "SNPS"


def test_what_fails_counts_as_changed() -> None:
    before = [examined("buy", "buy"), examined("buy", None), examined("buy", "buy"), examined("buy", "hold")]
    after = [examined("buy", "buy"), examined("buy", None), examined("buy", None), examined("buy", "hold")]
    found = stability(before, after, [pair(EXAMPLE)] * 4)
    assert (found["value"], found["n"], found["teacher"]) == (0.5, 4, 1)


def test_the_teacher_crosses_a_bound_too() -> None:
    near = Metrics.model_validate({"price": 10.0, "technicals": {"RSI_14": 29.99999, "MFI_14": 50.0}})
    same = pair(near)
    crossed = Pair("A", near, BriefAnswer(action="buy" if same.truth.action != "buy" else "sell", conviction=5))
    found = stability([examined("buy", "buy")] * 2, [examined("buy", "buy")] * 2, [same, crossed])
    assert found["teacher"] == 0.5


def test_of_another_teacher_no_stability_is_reported() -> None:
    labelled = Pair("A", EXAMPLE, BriefAnswer(action="buy", conviction=5), "gpt-4.1")
    assert stability([examined("buy", "buy")], [examined("buy", "buy")], [labelled])["teacher"] is None
