from __future__ import annotations

from typing import Any

from training.costs.recorded import measured_speed

REPORT: dict[str, Any] = {"speed": {"seconds": 2.0}, "agreement": {"n": 3}, "machine": "x86_64, 2 cores"}
"""An evaluation as it was written before form and dtype were recorded."""


def test_a_speed_is_kept_with_the_form_and_dtype_that_it_was_measured_in_where_those_are_recorded() -> None:
    known = {"seconds": 2.0, "calls": 3, "machine": "x86_64, 2 cores"}
    served = {"form": "dequantized", "dtype": "float32"}
    assert measured_speed(REPORT) == measured_speed({**REPORT, "served": None}) == known
    assert measured_speed({**REPORT, "served": served}) == {**known, "served": served}
