"""Scores of probabilities, compared with values computed by hand, and their properties."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.statistics.hits import Outcomes
from app.comparison.statistics.scores import Scores, classes, scores
from app.contract.recommendation import ACTIONS

SIDES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1))


def scored(*rows: tuple[str, float, tuple[float, float, float] | None]) -> Scores:
    """Ticker, return and mistral's probabilities of buy, sell and hold; gpt-4 states none."""
    order = [("buy", "sell", "hold").index(action) for action in ACTIONS]
    stated = np.array([[(row[2] or (np.nan,) * 3)[place] for place in order] for row in rows])
    nothing = np.full(len(rows), -1, np.int8)
    both = {"mistral": nothing, "gpt-4": nothing}
    outcomes = Outcomes(
        np.array([row[0].encode() for row in rows]), np.array([row[1] for row in rows]), np.zeros(len(rows)),
        both, both, {"mistral": stated, "gpt-4": np.full_like(stated, np.nan)},
    )  # fmt: skip
    [found] = scores(outcomes, 4)
    return found


def values(found: Scores) -> list[float]:
    estimates = (found.brier, found.brier_shares, found.log_loss, found.log_loss_shares)
    return [each.value for each in estimates if each is not None]


def test_a_return_has_one_class() -> None:
    found = classes(np.array([0.03, -0.03, 0.02, -0.02, 0.0]), 4)
    assert [ACTIONS[index] for index in found] == ["buy", "sell", "hold", "hold", "hold"]


def test_scores_by_hand() -> None:
    found = scored(
        ("A", 0.10, (0.7, 0.1, 0.2)),
        ("A", -0.10, (0.5, 0.5, 0.0)),
        ("B", 0.10, (0.0, 0.0, 1.0)),
        ("B", 0.01, (0.0, 0.2, 0.8)),
        ("C", 0.50, None),
    )
    assert (found.backend, found.advice, found.tickers) == ("mistral", 4, 2)
    brier = (0.3**2 + 0.1**2 + 0.2**2 + 0.5**2 + 0.5**2 + 2 + 0.2**2 + 0.2**2) / 4
    loss = -(log(0.7) + log(0.5) + log(1e-6) + log(0.8)) / 4
    entropy = -(0.5 * log(0.5) + 2 * 0.25 * log(0.25))
    assert values(found) == pytest.approx([brier, 1 - 0.25 - 2 / 16, loss, entropy], abs=1e-4)


@given(st.lists(st.tuples(st.sampled_from([0.1, -0.1, 0.0]), SIDES), min_size=1, max_size=30))
def test_no_constant_forecast_is_better_than_the_shares(rows: list[tuple[float, tuple[float, float, float]]]) -> None:
    total = sum(rows[0][1])
    constant = (rows[0][1][0] / total, rows[0][1][1] / total, rows[0][1][2] / total)
    brier, brier_shares, loss, loss_shares = values(scored(*(("A", each, constant) for each, _ in rows)))
    assert brier >= brier_shares - 1e-4
    assert loss >= loss_shares - 1e-4


def test_intervals_are_by_ticker() -> None:
    found = scored(*((f"T{n % 20}", 0.1 if n % 20 < 12 else -0.1, (0.6, 0.3, 0.1)) for n in range(200)))
    assert found.brier is not None and found.brier.low is not None and found.brier.high is not None
    assert found.brier.low < found.brier.value < found.brier.high
