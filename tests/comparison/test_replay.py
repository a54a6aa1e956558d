"""Agreement of replayed answers with the logged ones."""

from __future__ import annotations

import pytest

from app.comparison.replay import Given, Replayed, replay_agreement
from app.contract.recommendation import Action


def replayed(ticker: str | None, later: Action, logged: Action, convictions: tuple[int, int] = (5, 5)) -> Replayed:
    return Replayed(ticker, Given(later, convictions[0]), Given(logged, convictions[1]))


def test_the_difference_is_the_later_conviction_minus_the_logged() -> None:
    found = replay_agreement(
        [
            replayed("A", "buy", "buy", (7, 4)),
            replayed("B", "sell", "buy", (2, 3)),
            replayed("B", "hold", "hold", (5, 5)),
            replayed(None, "sell", "sell", (6, 4)),
        ]
    )
    assert (found.answers, found.tickers) == (4, 2)
    assert found.agreement is not None and found.agreement.value == 0.75
    assert found.conviction_difference is not None and found.conviction_difference.value == 1
    assert found.conviction_distance is not None and found.conviction_distance.value == 1.5
    # 0.75 observed; by chance 1/4 * 2/4 + 2/4 * 1/4 + 1/4 * 1/4
    assert found.kappa is not None and found.kappa.value == pytest.approx((0.75 - 5 / 16) / (1 - 5 / 16), abs=1e-6)


def test_intervals_are_by_ticker() -> None:
    """Many answers about few stocks have no interval; the same about many stocks have one."""
    few = [replayed(f"T{n % 4}", "buy", "buy" if n % 5 else "sell") for n in range(100)]
    many = [replayed(f"T{n % 25}", "buy", "buy" if n % 25 > 5 else "sell") for n in range(100)]
    without, within = (replay_agreement(each).agreement for each in (few, many))
    assert without is not None and (without.low, without.high) == (None, None)
    assert within is not None and within.low is not None and within.high is not None
    assert within.low < within.value < within.high


def test_full_agreement_is_not_certain() -> None:
    found = replay_agreement([replayed(f"T{n}", "hold", "hold") for n in range(10)])
    assert found.agreement is not None and found.agreement.low is not None
    assert found.agreement.value == 1 and 0.5 < found.agreement.low < 1
    assert found.kappa is None  # undefined: both sides have one action
