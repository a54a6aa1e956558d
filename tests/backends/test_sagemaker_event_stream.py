"""AWS' event stream taken off, however it is cut into pieces."""

from __future__ import annotations

import pytest
from aiohttp import ClientPayloadError
from hypothesis import given
from hypothesis import strategies as st

from app.backends.sagemaker.event_stream import EventStreamContent

from .sagemaker_runtime import frame, payload_part

EVENT = {":message-type": "event", ":event-type": "SomethingNew"}


class Pieces:
    """`Content` that comes in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def at_eof(self) -> bool:
        return not self._pieces


async def unframed(pieces: list[bytes]) -> list[bytes]:
    frames, found = EventStreamContent(Pieces(pieces)), []
    while piece := await frames.readany():
        found.append(piece)
    assert frames.at_eof()
    return found


@given(parts=st.lists(st.binary(max_size=50), max_size=5), size=st.integers(1, 90))
async def test_what_was_framed_comes_out_however_it_is_cut(parts: list[bytes], size: int) -> None:
    sent = b"".join(map(payload_part, parts))
    cut = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert b"".join(await unframed(cut)) == b"".join(parts)


async def test_an_event_of_another_kind_is_passed_over() -> None:
    assert await unframed([frame(EVENT, b"?") + payload_part(b"said")]) == [b"said"]


@pytest.mark.parametrize("kind", ["ModelStreamError", "InternalStreamFailure"])
async def test_an_exception_ends_it(kind: str) -> None:
    with pytest.raises(ClientPayloadError, match=kind):
        await unframed([payload_part(b"said"), frame({":message-type": "exception", ":exception-type": kind}, b"{}")])


async def test_an_error_without_a_kind_ends_it() -> None:
    with pytest.raises(ClientPayloadError, match="an error"):
        await unframed([frame({":message-type": "error", ":error-code": "500"}, b"")])


@pytest.mark.parametrize("place", [0, 5, 9, 20, -1])
async def test_a_frame_that_was_changed_on_the_way_ends_it(place: int) -> None:
    sent = bytearray(payload_part(b"said"))
    sent[place] ^= 1
    with pytest.raises(ClientPayloadError, match="no frame of an event stream"):
        await unframed([bytes(sent) + payload_part(b"more")])
