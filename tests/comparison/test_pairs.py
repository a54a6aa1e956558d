"""A pair is read back from its record as it was written."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from hypothesis import given

from app.comparison.failure_codes import FAILURES
from app.comparison.pairs import Pair, Side
from app.comparison.records import RECORD, SIDE
from app.comparison.statistics.latency_cost import _failed
from app.contract.completion import BACKEND_NAMES
from tests.comparison.pair_strategies import PAIRS


@given(PAIRS)
def test_a_packed_pair_is_read_back(pair: Pair) -> None:
    packed = pair.pack()
    assert len(packed) == RECORD.itemsize
    assert Pair.of(np.frombuffer(packed, RECORD)[0]) == pair


def test_a_code_of_another_version_is_unknown() -> None:
    for index in (len(FAILURES), 255):
        record = np.zeros(1, SIDE)
        record["failure"] = index
        assert Side.of(record[0]).failure == "unknown"
        assert _failed(record) == {"unknown": 1}
    assert Side.of(np.array([Side(failure="new_code").values()], SIDE)[0]).failure == "unknown"


def test_values_beyond_a_field_s_range_are_clipped() -> None:
    side = Side(action="buy", conviction=1, figures=10**6, unsupported=10**6, input_tokens=2**40)
    pair = Pair(
        "00" * 16, datetime(2024, 1, 1, tzinfo=UTC), None, None, "full", "shadow", dict.fromkeys(BACKEND_NAMES, side)
    )
    read = Pair.of(np.frombuffer(pair.pack(), RECORD)[0]).sides["mistral"]
    assert (read.figures, read.unsupported, read.input_tokens) == (2**16 - 2, 2**16 - 2, 2**32 - 1)
