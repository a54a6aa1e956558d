"""The report of pairs, held against what a few lines of Python count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.choice import Choice
from app.comparison.pairs import Pair, Side
from app.comparison.statistics.estimate import Estimate
from app.comparison.statistics.report import Report, report
from app.contract.recommendation import ACTIONS
from tests.statistics.pairs import pair, records, side

ACTION = st.sampled_from([*ACTIONS, None])
SIDES = st.builds(side, ACTION, st.integers(1, 10), nano_usd=st.integers(0, 10**8), total_ms=st.floats(1, 1e4))
PAIRS = st.lists(
    st.builds(pair, SIDES, SIDES, st.sampled_from([None, *"ABCDEFGH"]), st.sampled_from(["full", "brief"])), max_size=40
)


def of(pairs: list[Pair], choice: Choice | None = None, half_width: float = 0.02) -> Report:
    return report(records(pairs), choice or Choice(), half_width)


def test_of_nothing_there_is_nothing_to_say() -> None:
    empty = of([])
    assert (empty.pairs, empty.answered_by_both, empty.tickers) == (0, 0, 0)
    assert empty.first is empty.last is empty.agreement is empty.kappa is empty.conviction_difference is None
    assert set(empty.ratios.values()) == {None}
    for backend in empty.backends.values():
        assert backend.latency_ms is backend.usd_per_recommendation is backend.usd_per_1k_tokens is None
    assert (empty.needed.pairs, empty.needed.basis) == (2401, "assumed")


@given(PAIRS)
def test_everything_is_counted_once(pairs: list[Pair]) -> None:
    found = of(pairs)
    both = [each for each in pairs if each.agree is not None]
    assert (found.pairs, found.answered_by_both) == (len(pairs), len(both))
    assert found.tickers == len({each.ticker for each in both if each.ticker})
    said = Counter((each.sides["mistral"].action, each.sides["gpt-4"].action) for each in pairs)
    for row, line in found.confusion.items():
        for column, count in line.items():
            assert count == said[row if row != "error" else None, column if column != "error" else None]  # type: ignore[index]
    for name, backend in found.backends.items():
        answers = [each.sides[name] for each in pairs if each.sides[name].action]
        assert backend.answered == sum(backend.actions.values()) == len(answers)
        assert sum(backend.failed.values()) == len(pairs) - len(answers)
    if both:
        assert found.agreement is not None
        assert found.agreement.value == pytest.approx(np.mean([each.agree for each in both]), rel=1e-5)
        difference = [_sure(each.sides["mistral"]) - _sure(each.sides["gpt-4"]) for each in both]
        assert found.conviction_difference is not None
        assert found.conviction_difference.value == pytest.approx(np.mean(difference), rel=1e-5, abs=1e-9)


@given(PAIRS)
def test_kappa_is_cohen_s(pairs: list[Pair]) -> None:
    both = [(each.sides["mistral"].action, each.sides["gpt-4"].action) for each in pairs if each.agree is not None]
    found = of(pairs).kappa
    ones, others = Counter(one for one, _ in both), Counter(other for _, other in both)
    chance = sum(ones[action] * others[action] for action in ACTIONS)
    if chance == len(both) ** 2:
        assert found is None  # both always say the same one thing: nothing is beyond chance
    else:
        same = sum(one == other for one, other in both) / len(both)
        expected = chance / len(both) ** 2
        assert found is not None
        assert found.value == pytest.approx((same - expected) / (1 - expected), rel=1e-5, abs=1e-9)


@given(PAIRS)
def test_weighted_kappa_is_cohen_s_with_squared_steps(pairs: list[Pair]) -> None:
    scale: dict[str | None, int] = {"sell": 0, "hold": 1, "buy": 2}
    both = [(each.sides["mistral"].action, each.sides["gpt-4"].action) for each in pairs if each.agree is not None]
    steps = [(scale[one] - scale[other]) ** 2 for one, other in both]
    by_chance = [(scale[one] - scale[other]) ** 2 for one, _ in both for _, other in both]
    found = of(pairs).weighted_kappa
    if not sum(by_chance):
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(1 - np.mean(steps) / np.mean(by_chance), rel=1e-5, abs=1e-9)


@given(PAIRS)
def test_shares_of_a_row_add_up_to_one(pairs: list[Pair]) -> None:
    found = of(pairs)
    for row, shares in found.confusion_shares.items():
        counts = found.confusion[row]
        if sum(counts.values()):
            assert shares == {
                column: pytest.approx(count / sum(counts.values()), rel=1e-5) for column, count in counts.items()
            }
        else:
            assert set(shares.values()) == {None}


@given(PAIRS)
def test_an_interval_holds_its_value_or_is_left_out(pairs: list[Pair]) -> None:
    found = of(pairs)
    for each in (found.agreement, found.agreement_anytime, found.conviction_distance, *found.ratios.values()):
        if each is not None and each.low is not None and each.high is not None:
            assert each.low - 1e-9 <= each.value * 1.000001 and each.value * 0.999999 <= each.high + 1e-9


def test_latency_and_cost_of_answers() -> None:
    slow = side(
        "buy", total_ms=3000.0, ms_per_token=50.0, output_tokens=11, nano_usd=3_000_000, figures=4, unsupported=1
    )
    quick = side("buy", figures=2, unsupported=0)
    failed = side(None)
    found = of([pair(quick, slow), pair(failed, slow), pair(quick, quick)])
    mistral, gpt4 = found.backends["mistral"], found.backends["gpt-4"]
    assert (mistral.answered, mistral.failed) == (2, {"backend_error": 1})
    assert (gpt4.answered, gpt4.failed) == (3, {})
    assert gpt4.latency_ms is not None and gpt4.ms_per_token is not None and gpt4.tokens_per_second is not None
    assert (gpt4.latency_ms.p50, gpt4.latency_ms.mean) == (3000, pytest.approx(7000 / 3, rel=1e-5))
    assert gpt4.ms_per_token.mean == pytest.approx((2 * 50 * 10 + 20 * 40) / 60, rel=1e-5)
    assert (gpt4.tokens_per_second.p50, gpt4.tokens_per_second.p95) == (20, 20)
    assert (gpt4.tokens.input, gpt4.tokens.cached_input, gpt4.tokens.output) == (900, 300, 63)
    assert (gpt4.usd, gpt4.usd_per_recommendation) == ("0.007", "0.002333333")
    assert gpt4.usd_per_1k_tokens == "0.005542359"  # 7 million nano-dollars of 1,263 tokens
    assert (gpt4.invention.analyses, gpt4.invention.analyses_with_invented) == (3, 2)
    assert (gpt4.invention.figures, gpt4.invention.invented) == (10, 2)


def test_ratios_are_of_pairs_that_both_answered() -> None:
    mistral = side("buy", nano_usd=100)
    gpt4 = side("sell", nano_usd=800, total_ms=2500.0, ttft_ms=100.0, ms_per_token=60.0, output_tokens=41)
    pairs = [pair(mistral, gpt4, ticker) for ticker in "ABCDEF"] + [pair(side(None), side("buy", nano_usd=10**9))]
    assert of(pairs).ratios == {
        "latency": Estimate(2.5, 2.5, 2.5),
        "ttft": Estimate(0.5, 0.5, 0.5),
        "ms_per_token": Estimate(3, 3, 3),
        "usd_per_recommendation": Estimate(8, 8, 8),
        "usd_per_1k_tokens": Estimate(8, 8, 8),
    }


def test_a_measure_that_a_backend_does_not_give_has_no_ratio() -> None:
    brief = side("buy", ttft_ms=None, ms_per_token=None, output_tokens=1)
    found = of([pair(brief, side("buy"), ticker) for ticker in "ABCDEF"])
    assert found.ratios["ttft"] is found.ratios["ms_per_token"] is None
    assert found.backends["mistral"].ttft_ms is found.backends["mistral"].tokens_per_second is None


def test_pairs_still_needed_shrink_with_the_square_of_the_half_width() -> None:
    random = np.random.default_rng(1)
    pairs = [
        pair(side("buy"), side("buy" if random.random() < 0.8 else "hold"), f"T{number % 40}") for number in range(400)
    ]
    wide, narrow = of(pairs, half_width=0.02).needed, of(pairs, half_width=0.01).needed
    assert wide.basis == narrow.basis == "measured"
    assert wide.half_width_now is not None
    assert wide.pairs == pytest.approx(400 * (wide.half_width_now / 0.02) ** 2, abs=1)
    assert narrow.pairs == pytest.approx(4 * wide.pairs, abs=4)
    assert wide.pairs_still == wide.pairs - 400
    assert of(pairs, half_width=0.5).needed.pairs_still == 0


def test_answers_of_a_stand_in_are_marked() -> None:
    assert of([pair(side("buy"), side("buy", stand_in=True))]).stand_in
    assert not of([pair(side("buy"), side("buy"))]).stand_in


def _sure(side: Side) -> int:
    assert side.conviction is not None
    return side.conviction
