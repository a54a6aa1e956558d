"""A record is as small as it is said to be, and arrays of records are joined, split and selected unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.pairs import Pair, Side
from app.comparison.records import EXTRAS, MAIN, RECORD, concatenate, join, select, split
from tests.comparison.pair_strategies import PAIRS


def test_the_main_part_is_the_record_of_earlier_gateways() -> None:
    assert (MAIN, EXTRAS) == (144, 5)
    assert list(RECORD.fields or ())[-3:] == ["blind", "mistral_version", "gpt-4_version"]


@given(st.lists(PAIRS, max_size=6), st.data())
def test_both_parts_are_joined_and_missing_extras_are_unknown(pairs: list[Pair], data: st.DataObject) -> None:
    main, extras = split(concatenate([np.frombuffer(pair.pack(), RECORD) for pair in pairs]))
    assert [Pair.of(record) for record in join(main, extras)] == pairs
    written = data.draw(st.integers(0, len(pairs)))
    assert [Pair.of(record) for record in join(main, extras[: written * EXTRAS])] == [
        *pairs[:written],
        *(replace(pair, blind=None) for pair in pairs[written:]),
    ]
    assert len(join(main[: written * MAIN], extras)) == written


def test_a_hundred_thousand_pairs_are_less_than_15_megabytes() -> None:
    assert RECORD.itemsize * 100_000 < 15e6


@given(st.lists(PAIRS, max_size=6), st.data())
def test_records_are_concatenated_and_selected_unchanged(pairs: list[Pair], data: st.DataObject) -> None:
    runs = [np.frombuffer(pair.pack(), RECORD) for pair in pairs]
    records = concatenate(runs)
    assert [Pair.of(record) for record in records] == pairs
    mask = np.array([data.draw(st.booleans()) for _ in pairs], np.bool_)
    assert [Pair.of(record) for record in select(records, mask)] == [
        pair for pair, chosen in zip(pairs, mask, strict=True) if chosen
    ]
    sides = select(records["gpt-4"], mask)
    assert [Side.of(side) for side in sides] == [
        pair.sides["gpt-4"] for pair, chosen in zip(pairs, mask, strict=True) if chosen
    ]
