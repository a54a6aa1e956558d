"""A cursor that was given opens; any other does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursor import opened, sealed
from app.errors import InvalidRequest

SECRET = bytes(range(32))
PLACES = st.integers(0, 2**63 - 1)


@given(PLACES)
def test_what_was_sealed_opens(place: int) -> None:
    assert opened(sealed(place, SECRET), SECRET) == place


@given(PLACES, st.integers(0, 27), st.sampled_from("ABCxyz019-_"))
def test_one_changed_character_is_refused(place: int, at: int, letter: str) -> None:
    cursor = sealed(place, SECRET)
    changed = cursor[:at] + letter + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(InvalidRequest):
            opened(changed, SECRET)


@given(st.text(max_size=40))
def test_no_other_text_opens(text: str) -> None:
    with pytest.raises(InvalidRequest):
        opened(text, SECRET)
