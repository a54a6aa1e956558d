from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.sizing.floor import figures
from training.costs.estimate import A10, A100, FLOPS_PER_TOKEN, GPUS, H100, estimates


@given(st.integers(10_000, 10**9))
def test_where_a_rate_is_published_one_gpu_takes_the_tokens_at_that_rate(tokens: int) -> None:
    alone = {row.machine: row.seconds for row in estimates(tokens, "toy") if row.devices == 1}
    for gpu in GPUS:
        if gpu.rate:
            assert alone[gpu.name] == pytest.approx(tokens / gpu.rate.tokens_per_second)
    assert alone[A10.name] == pytest.approx(alone[A100.name] * A100.peak / A10.peak)


def test_more_gpus_take_less_time_and_cost_more() -> None:
    rows = list(estimates(100_000_000, "toy"))
    for gpu in GPUS:
        of_gpu = [row for row in rows if row.machine == gpu.name]
        assert [row.devices for row in of_gpu] == [1, 2, 4]
        assert [row.seconds for row in of_gpu] == sorted((row.seconds for row in of_gpu), reverse=True)
        costs = [row.cost_usd or Decimal(0) for row in of_gpu]
        assert costs == sorted(costs)
        assert costs[0] > 0


def test_scaling_is_that_of_the_published_times() -> None:
    one, two, four = (row.seconds for row in estimates(10**6, "toy") if row.machine == A100.name)
    assert two / one == pytest.approx(Decimal(1461) / 2803)
    assert four / one == pytest.approx(Decimal(794) / 2803)


def test_peaks_and_flops_are_those_that_sizing_uses() -> None:
    known = figures()
    assert A100.peak == known.gpus["A100"].flops
    assert H100.peak == known.gpus["H100"].flops
    assert float(FLOPS_PER_TOKEN) == pytest.approx(2 * known.model.flops_a_token, rel=0.01)  # backward, too


def test_a_utilisation_is_a_share() -> None:
    assert all(0 < gpu.utilisation < 1 for gpu in GPUS)
