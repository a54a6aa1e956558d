"""A cursor decodes to its position; other text is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursor import PATTERN, SIZE, decode_cursor, encode_cursor
from app.errors import InvalidRequest

POSITIONS = st.integers(0, 2 ** (8 * SIZE) - 1)
QUERY = '{"detail":"brief"}'


@given(POSITIONS)
def test_a_position_survives_the_encoding(position: int) -> None:
    cursor = encode_cursor(position, QUERY)
    assert PATTERN.fullmatch(cursor)
    assert decode_cursor(cursor, QUERY) == position


@given(POSITIONS, st.text(max_size=9).filter(lambda text: text != QUERY))
def test_a_cursor_of_another_query_is_refused(position: int, query: str) -> None:
    with pytest.raises(InvalidRequest, match="same parameters"):
        decode_cursor(encode_cursor(position, QUERY), query)


@given(POSITIONS, st.integers(0, 15), st.sampled_from("AZaz09_-"))
def test_every_cursor_has_one_encoding(position: int, place: int, other: str) -> None:
    cursor = encode_cursor(position, QUERY)
    changed = cursor[:place] + other + cursor[place + 1 :]
    try:
        assert encode_cursor(decode_cursor(changed, QUERY), QUERY) == changed
    except InvalidRequest:
        assert changed[8:] != cursor[8:]


@given(POSITIONS, st.text(max_size=3))
def test_a_cursor_of_another_length_is_refused(position: int, more: str) -> None:
    cursor = encode_cursor(position, QUERY)
    for wrong in (cursor[:-1], f"{cursor}A{more}", f"{more}="):
        with pytest.raises(InvalidRequest, match="cursor must be the `next` of an earlier page"):
            decode_cursor(wrong, QUERY)


@given(st.text(max_size=40).filter(lambda text: not PATTERN.fullmatch(text)))
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(text, QUERY)
