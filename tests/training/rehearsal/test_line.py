"""A line through two depths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.rehearsal.line import at, fitting, slope

SIZES = st.floats(0.01, 1e3)


@given(fixed=SIZES, layer=SIZES, few=st.integers(1, 4), more=st.integers(1, 8), limit=st.floats(0.01, 1e5))
def test_it_finds_what_is_linear(fixed: float, layer: float, few: int, more: int, limit: float) -> None:
    def true(layers: int) -> float:
        return fixed + layer * layers

    points = [(few, true(few)), (few + more, true(few + more))]
    assert at(points, 32) == pytest.approx(true(32))
    count = fitting(points, limit, 32)
    assert count is not None and 0 <= count <= 32
    assert count == 0 or true(count) <= limit * 1.001
    assert count == 32 or true(count + 1) >= limit * 0.999


def test_noise_does_not_make_layers_cost_less_than_nothing() -> None:
    points = [(1, 2.0), (2, 1.5)]
    assert slope(points) == 0 and at(points, 32) == 1.5 and at(points, 1) == 2.0
    assert fitting(points, 3.0, 32) == 32 and fitting(points, 1.0, 32) == 0


def test_one_measurement_is_no_line() -> None:
    assert at([(1, 2.0)], 1) == 2.0
    assert at([(1, 2.0)], 2) is None and slope([]) is None and fitting([(1, 2.0)], 3.0, 32) is None
