"""The decoder of AWS' event stream, for any division of the bytes."""

from __future__ import annotations

import pytest
from aiohttp import ClientPayloadError
from hypothesis import given
from hypothesis import strategies as st

from app.backends.sagemaker.event_stream import EventStreamContent

from .sagemaker_runtime import frame, payload_part

EVENT = {":message-type": "event", ":event-type": "SomethingNew"}


class Pieces:
    """`Content` that arrives in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def at_eof(self) -> bool:
        return not self._pieces


async def decode(pieces: list[bytes]) -> list[bytes]:
    content, found = EventStreamContent(Pieces(pieces)), []
    while piece := await content.readany():
        found.append(piece)
    assert content.at_eof()
    return found


@given(parts=st.lists(st.binary(max_size=50), max_size=5), size=st.integers(1, 90))
async def test_any_division_of_the_bytes_gives_the_same_parts(parts: list[bytes], size: int) -> None:
    sent = b"".join(map(payload_part, parts))
    cut = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert b"".join(await decode(cut)) == b"".join(parts)


async def test_an_event_of_another_type_is_skipped() -> None:
    assert await decode([frame(EVENT, b"?") + payload_part(b"text")]) == [b"text"]


@pytest.mark.parametrize("kind", ["ModelStreamError", "InternalStreamFailure"])
async def test_an_exception_frame_is_an_error(kind: str) -> None:
    with pytest.raises(ClientPayloadError, match=kind):
        await decode([payload_part(b"text"), frame({":message-type": "exception", ":exception-type": kind}, b"{}")])


async def test_an_error_frame_without_a_type_is_an_error() -> None:
    with pytest.raises(ClientPayloadError, match="an error"):
        await decode([frame({":message-type": "error", ":error-code": "500"}, b"")])


@pytest.mark.parametrize("position", [0, 5, 9, 20, -1])
async def test_a_corrupted_frame_is_an_error(position: int) -> None:
    sent = bytearray(payload_part(b"text"))
    sent[position] ^= 1
    with pytest.raises(ClientPayloadError, match="invalid event stream frame"):
        await decode([bytes(sent) + payload_part(b"more")])
