"""AWS' event stream: the frames that a streamed answer of SageMaker comes in, taken off again."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientPayloadError

from app.backends.origin import Content


class Frames:
    """`Content` that is what the frames of another hold. A broken frame, or one that tells of a failure, is
    aiohttp's `ClientPayloadError`, as is any body that breaks off."""

    def __init__(self, content: Content) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._content = content
        self._buffer: Any = EventStreamBuffer()

    async def readany(self) -> bytes:
        while received := await self._content.readany():
            if piece := self._unframed(received):
                return piece
        return b""

    def at_eof(self) -> bool:
        return self._content.at_eof()

    def _unframed(self, received: bytes) -> bytes:
        from botocore.eventstream import ParserError

        self._buffer.add_data(received)
        try:
            return b"".join(_payload(message) for message in self._buffer)
        except ParserError as error:
            raise ClientPayloadError(f"no frame of an event stream: {type(error).__name__}") from None


def _payload(message: Any) -> bytes:
    """The part of the answer that an event holds."""
    if message.headers.get(":message-type") != "event":
        raise ClientPayloadError(f"the stream ends with {message.headers.get(':exception-type', 'an error')}")
    part: bytes = message.payload if message.headers.get(":event-type") == "PayloadPart" else b""
    return part
