from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.agreement import clustered, compare, wilson


def test_agreement_is_a_mean_with_an_interval_by_ticker() -> None:
    hits = np.array([1.0] * 85 + [0.0] * 15)
    spread = clustered(hits, [f"T{i}" for i in range(100)])
    lumped = clustered(hits, [f"T{i // 20}" for i in range(100)])
    assert spread["value"] == lumped["value"] == 0.85
    assert 0.76 < spread["low"] < 0.80 < 0.90 < spread["high"] < 0.93
    assert lumped["high"] - lumped["low"] > spread["high"] - spread["low"]
    assert (spread["n"], spread["tickers"], lumped["tickers"]) == (100, 100, 5)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ABC")), min_size=1))
def test_the_interval_holds_the_value(rows: list[tuple[bool, str]]) -> None:
    hits = np.array([float(hit) for hit, _ in rows])
    found, single = clustered(hits, [ticker for _, ticker in rows]), wilson(hits)
    assert 0 <= found["low"] <= found["value"] + 1e-4
    assert found["value"] - 1e-4 <= found["high"] <= 1
    assert 0 <= single["low"] <= found["value"] + 1e-4
    assert found["value"] - 1e-4 <= single["high"] <= 1


@pytest.mark.parametrize(("n", "low", "high"), [(200, 0.794, 0.893), (1000, 0.827, 0.871)])
def test_wilson_is_the_published_interval(n: int, low: float, high: float) -> None:
    found = wilson(np.arange(n) < 0.85 * n)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-3)


def test_mcnemar_looks_only_at_what_one_of_two_got() -> None:
    first = np.array([1.0] * 80 + [1.0] * 9 + [0.0] + [0.0] * 10)
    second = np.array([1.0] * 80 + [0.0] * 9 + [1.0] + [0.0] * 10)
    found = compare(first, second, [f"T{i}" for i in range(100)])
    assert (found["only_first"], found["only_second"], found["value"]) == (9, 1, 0.08)
    assert found["p"] == pytest.approx(2 * (1 + 10) / 2**10)
    assert 0 < found["low"] < 0.08 < found["high"]
