"""A cascade computed from a model's answers: what is passed on, what it costs, and how often it agrees."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.recommendation import ACTIONS, Action
from app.pricing.prices import CapacityPrice, ListPrice
from tests.training.evaluation.examined import examined
from training.evaluation.frontier import THRESHOLDS, frontier, passed_on
from training.evaluation.rows import Row

HOSTED = CapacityPrice(Decimal("0.11"), Decimal(1_000_000))
API = ListPrice(input=Decimal(2), cached_input=Decimal(1), output=Decimal(8))
FIRST, SECOND = 110 * 0.11 / 1e6, (100 * 2 + 10 * 8) / 1e6
"""USD of a row's call, of 100 tokens in and 10 out."""


def buy(truth: Action, share: float, ticker: str = "A") -> Row:
    return examined(truth, "buy", ticker=ticker, probabilities=(share, (1 - share) / 2, (1 - share) / 2))


def test_what_is_unsure_costs_two_calls_and_agrees() -> None:
    rows = [buy("buy", 0.9), buy("hold", 0.6), buy("buy", 0.55), buy("sell", 0.95)]
    found = frontier(rows, HOSTED, API)
    assert found is not None
    points = {point["threshold"]: point for point in found["points"]}
    assert [points[t]["passed_on"] for t in (0.0, 0.6, 0.65, 0.95, 0.98)] == [0, 0.25, 0.5, 0.75, 1]
    assert [points[t]["agreement"]["value"] for t in (0.0, 0.6, 0.65, 0.95, 0.98)] == [0.5, 0.5, 0.75, 0.75, 1]
    assert [points[t]["kept_agreement"] for t in (0.0, 0.65, 0.98)] == [0.5, 0.5, None]
    for threshold, share in ((0.0, 0), (0.65, 0.5), (0.98, 1)):
        usd = points[threshold]["usd_per_1k_answers"]
        assert usd == pytest.approx(1000 * (FIRST + share * SECOND))
    assert found["api_alone"] == {"agreement": 1.0, "usd_per_1k_answers": pytest.approx(1000 * SECOND)}


def test_without_probability_an_answer_is_passed_on_and_a_failure_is_a_miss() -> None:
    bare, failed = examined("buy", "buy"), examined("buy", None)
    assert [passed_on(row, 0.0) for row in (bare, failed, buy("buy", 0.1))] == [True, False, False]
    found = frontier([buy("buy", 1.0), bare, failed], HOSTED, API)
    assert found is not None
    last = found["points"][-1]
    assert (last["passed_on"], last["agreement"]["value"]) == (0.3333, 0.6667)


def test_without_any_probability_there_is_no_frontier() -> None:
    assert frontier([examined("buy", "buy"), examined("buy", None)], HOSTED, API) is None


def test_where_no_tokens_were_counted_there_is_none_either() -> None:
    assert frontier([buy("buy", 0.9).model_copy(update={"prompt_tokens": 0})], HOSTED, API) is None


def test_the_threshold_pointed_out_is_the_least_whose_interval_reaches_the_aim() -> None:
    tickers = [f"T{n}" for n in range(40)]
    right = [buy("buy", 0.99, ticker) for ticker in tickers]
    unsure = [buy("sell", 0.7, ticker) for ticker in tickers]
    found = frontier([*right, *unsure], HOSTED, API)
    assert found is not None
    assert found["least_threshold"] == 0.75
    wrong = frontier([buy("sell", 0.995, ticker) for ticker in tickers], HOSTED, API)
    assert wrong is not None
    assert wrong["least_threshold"] is None


def test_the_threshold_is_chosen_on_validation_pairs_and_its_figures_are_of_the_rows() -> None:
    tickers = [f"T{n}" for n in range(40)]
    validation = [buy(truth, share, ticker) for ticker in tickers for truth, share in (("buy", 0.99), ("sell", 0.7))]
    rows = [buy("buy", 0.72, ticker) for ticker in tickers]
    found = frontier(rows, HOSTED, API, validation)
    assert found is not None
    assert (found["least_threshold"], found["chosen_on"]) == (0.75, "validation pairs")
    assert {point["threshold"]: point["passed_on"] for point in found["points"]}[0.75] == 1
    alone = frontier(rows, HOSTED, API)
    assert alone is not None
    assert (alone["least_threshold"], alone["chosen_on"]) == (0.0, "the same pairs")


@given(
    st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.floats(0.34, 1), st.sampled_from(("A", "B", "C"))),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=25, deadline=None)
def test_a_higher_threshold_never_agrees_less_nor_costs_less(drawn: list[tuple[Action, float, str]]) -> None:
    found = frontier([buy(truth, share, ticker) for truth, share, ticker in drawn], HOSTED, API)
    assert found is not None
    assert [point["threshold"] for point in found["points"]] == list(THRESHOLDS)
    for figure in ("passed_on", "usd_per_1k_answers"):
        values = [point[figure] for point in found["points"]]
        assert values == sorted(values)
    values = [point["agreement"]["value"] for point in found["points"]]
    assert values == sorted(values)
