"""The decoder of server-sent events, for any division of the bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.sse import MAX_LINE_BYTES, EventDecoder

data = st.binary(max_size=30).filter(lambda text: not set(text) & set(b"\r\n") and text == text.strip())


def decode(stream: bytes, cuts: list[int]) -> list[bytes]:
    decoder = EventDecoder()
    ends = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [data for start, end in pairwise(ends) for data in decoder.feed(stream[start:end])]


@given(
    st.lists(data), st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"data: ", b"data:"]), st.lists(st.integers(0))
)
def test_no_division_of_the_bytes_changes_the_events(
    events: list[bytes], end: bytes, field: bytes, cuts: list[int]
) -> None:
    stream = b"".join(field + each + end + end for each in events)
    assert decode(stream, cuts) == events


def test_a_line_that_is_too_long_is_refused() -> None:
    decoder = EventDecoder()
    with pytest.raises(ValueError, match="does not end"):
        for _ in range(MAX_LINE_BYTES // 1000 + 2):
            list(decoder.feed(b"x" * 1000))
