"""Hit rates and base rates, compared with values computed by hand and by simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from app.comparison.statistics.hits import Hits, Outcomes, came_true, hits
from app.contract.recommendation import ACTIONS

PLACE = {action: place for place, action in enumerate(ACTIONS)}


def outcomes(rows: Sequence[tuple[str, float, str | None, int]], benchmark: Sequence[float] | None = None) -> Outcomes:
    """Ticker, return, mistral's action and conviction; gpt-4 says nothing."""
    tickers, returns, actions, sure = zip(*rows, strict=True)
    given = np.array([-1 if action is None else PLACE[action] for action in actions], np.int8)
    silent = np.full(len(rows), -1, np.int8)
    return Outcomes(
        np.array([ticker.encode() for ticker in tickers]),
        np.array(returns),
        np.array(benchmark or [0.0] * len(rows)),
        {"mistral": given, "gpt-4": silent},
        {"mistral": np.array(sure, np.int8), "gpt-4": np.zeros(len(rows), np.int8)},
    )


def group(found: list[Hits], action: str | None = None, conviction: str | None = None) -> Hits:
    [one] = [each for each in found if (each.action, each.conviction) == (action, conviction)]
    return one


def value(estimate: object) -> float:
    assert estimate is not None
    return float(estimate.value)  # type: ignore[attr-defined]


def test_each_action_has_its_own_way_of_being_right() -> None:
    right = came_true(np.array([0.05, -0.05, 0.02, -0.02, 0.0]), sessions=9)
    received = dict(zip(ACTIONS, right.tolist(), strict=True))
    assert received["buy"] == [True, False, True, False, False]
    assert received["sell"] == [False, True, False, True, False]
    assert received["hold"] == [False, False, True, True, True]


def test_hit_rate_base_rate_and_lead_by_hand() -> None:
    found = hits(
        outcomes(
            [
                ("A", 0.10, "buy", 9),
                ("B", -0.10, "buy", 3),
                ("C", 0.10, "buy", 8),
                ("D", -0.10, "sell", 6),
                ("E", 0.001, "hold", 5),
                ("F", -0.10, None, 0),
            ]
        ),
        sessions=5,
    )
    buys = group(found, "buy")
    assert (buys.advice, buys.tickers) == (3, 3)
    assert value(buys.hit_rate) == pytest.approx(2 / 3, abs=1e-5)
    assert value(buys.base_rate) == 0.5
    assert value(buys.lead) == pytest.approx(1 / 6, abs=1e-5)
    assert value(buys.mean_return) == pytest.approx(0.1 / 3, abs=1e-6)
    whole = group(found)
    assert whole.advice == 5
    assert value(whole.hit_rate) == 0.8
    assert value(whole.base_rate) == pytest.approx((3 * 0.5 + 0.5 + 1 / 6) / 5, abs=1e-5)
    assert {each.backend for each in found} == {"mistral"}
    assert value(group(found, "buy", "8-10").hit_rate) == 1
    assert value(group(found, "buy", "1-4").hit_rate) == 0


def test_days_of_one_stock_are_not_so_many_stocks() -> None:
    random = np.random.default_rng(3)
    drift = {f"T{number}": random.normal(0, 0.1) for number in range(30)}
    alike = [(name, drift[name] + random.normal(0, 0.01), "buy", 5) for name in drift for _ in range(20)]
    apart = [(f"{name}{day}", each, "buy", 5) for day, (name, each, *_) in enumerate(alike)]
    one, other = (group(hits(outcomes(rows), 5)).hit_rate for rows in (alike, apart))
    assert one is not None and other is not None
    assert one.value == other.value
    assert one.half_width is not None and other.half_width is not None
    assert one.half_width > 2.5 * other.half_width


ADVICE = [("A", 0.10, "buy", 9), ("B", -0.04, "sell", 6), ("C", 0.05, "sell", 6), ("D", 0.20, "hold", 5)]


def test_returns_of_the_advice_of_its_stocks_and_of_the_benchmark_by_hand() -> None:
    found = hits(outcomes([*ADVICE, ("E", 0.5, None, 0)], [0.01, 0.02, 0.03, 0.04, 0.9]), sessions=5)
    whole, sells = group(found), group(found, "sell")
    assert value(whole.signed_return) == pytest.approx((0.10 + 0.04 - 0.05) / 4, abs=1e-6)
    assert value(whole.mean_return) == pytest.approx((0.10 - 0.04 + 0.05 + 0.20) / 4, abs=1e-6)
    assert value(whole.benchmark_return) == pytest.approx(0.025, abs=1e-6)
    assert value(sells.signed_return) == pytest.approx(-value(sells.mean_return), abs=1e-6)
    assert value(sells.benchmark_return) == pytest.approx(0.025, abs=1e-6)
    assert value(group(found, "hold").signed_return) == 0


def test_a_benchmark_is_of_the_same_questions_or_of_none() -> None:
    random = np.random.default_rng(1)
    rows = [(f"T{number}", float(random.normal()), "buy" if number % 2 else "sell", 5) for number in range(10)]
    found = hits(outcomes(rows, [0.01 if number % 2 else np.nan for number in range(10)]), sessions=5)
    assert value(group(found, "buy").benchmark_return) == pytest.approx(0.01)
    assert group(found, "sell").benchmark_return is group(found).benchmark_return is None
    whole = group(found).signed_return
    assert whole is not None and whole.half_width is not None
