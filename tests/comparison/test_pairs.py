"""A pair's record: as small as it is said to be, and read back as it was written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import app.errors
from app.comparison.pairs import (
    BLINDS,
    DETAILS,
    EXTRAS,
    FAILURES,
    MAIN,
    ORIGINS,
    RECORD,
    SIDE,
    Pair,
    Side,
    concatenate,
    join,
    select,
    split,
)
from app.comparison.statistics.latency_cost import _failed
from app.contract.completion import BACKEND_NAMES
from app.contract.recommendation import ACTIONS

TIMES = st.none() | st.floats(0, 1e6, width=32).map(lambda number: float(f"{number:.7g}"))
TOKENS = st.integers(0, 10**6)
SHARES = st.sampled_from([None, (1.0, 0.0, 0.0), (0.25, 0.5, 0.25)])
SIDES = st.builds(Side, failure=st.sampled_from(FAILURES[1:])) | st.builds(
    Side,
    action=st.sampled_from(ACTIONS),
    conviction=st.integers(1, 10),
    probabilities=SHARES.map(lambda shares: dict(zip(ACTIONS, shares, strict=True)) if shares else None),
    total_ms=TIMES,
    ttft_ms=TIMES,
    ms_per_token=TIMES,
    input_tokens=TOKENS,
    cached_tokens=TOKENS,
    output_tokens=TOKENS,
    nano_usd=st.integers(0, 10**15),
    figures=st.none() | st.integers(0, 1000),
    unsupported=st.none() | st.integers(0, 1000),
    stand_in=st.booleans(),
)
PAIRS = st.builds(
    Pair,
    id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
        lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
    ),
    ticker=st.none() | st.from_regex(r"[A-Z0-9][A-Z0-9.\-]{0,9}", fullmatch=True),
    as_of=st.none() | st.dates(date(1970, 1, 1), date(2100, 1, 1)),
    detail=st.sampled_from(DETAILS),
    origin=st.sampled_from(ORIGINS),
    sides=st.fixed_dictionaries(dict.fromkeys(BACKEND_NAMES, SIDES)),
    blind=st.sampled_from(BLINDS),
)


@given(PAIRS)
def test_a_packed_pair_is_read_back(pair: Pair) -> None:
    packed = pair.pack()
    assert len(packed) == RECORD.itemsize
    assert Pair.of(np.frombuffer(packed, RECORD)[0]) == pair


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


def test_every_error_has_its_place() -> None:
    codes = {each.code for each in vars(app.errors).values() if isinstance(each, type) and hasattr(each, "code")}
    assert codes == set(FAILURES[1:])
    assert len(set(FAILURES)) == len(FAILURES) < 256


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
