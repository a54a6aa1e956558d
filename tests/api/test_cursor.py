"""A cursor decodes to its position; other text is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursor import PATTERN, SIZE, decode_cursor, encode_cursor
from app.errors import InvalidRequest

POSITIONS = st.integers(0, 2 ** (8 * SIZE) - 1)


@given(POSITIONS)
def test_a_position_survives_the_encoding(position: int) -> None:
    assert decode_cursor(encode_cursor(position)) == position


@given(st.from_regex(PATTERN, fullmatch=True))
def test_every_cursor_has_one_encoding(cursor: str) -> None:
    assert encode_cursor(decode_cursor(cursor)) == cursor


@given(POSITIONS, st.text(max_size=3))
def test_a_cursor_of_another_length_is_refused(position: int, more: str) -> None:
    cursor = encode_cursor(position)
    for wrong in (cursor[:-1], f"{cursor}A{more}", f"{more}="):
        with pytest.raises(InvalidRequest, match="cursor must be the `next` of an earlier page"):
            decode_cursor(wrong)


@given(st.text(max_size=40).filter(lambda text: not PATTERN.fullmatch(text)))
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(text)
