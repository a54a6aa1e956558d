"""Decoder of AWS' event stream, which frames SageMaker's streamed responses."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientPayloadError

from app.backends.transport import Content


class EventStreamContent:
    """`Content` from the frames of another one.

    Raises aiohttp's `ClientPayloadError` for an invalid frame, an error frame and a truncated body.
    """

    def __init__(self, content: Content) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._content = content
        self._buffer: Any = EventStreamBuffer()

    async def readany(self) -> bytes:
        while received := await self._content.readany():
            if piece := self._decode(received):
                return piece
        return b""

    def at_eof(self) -> bool:
        return self._content.at_eof()

    def _decode(self, received: bytes) -> bytes:
        from botocore.eventstream import ParserError

        self._buffer.add_data(received)
        try:
            return b"".join(_payload(message) for message in self._buffer)
        except ParserError as error:
            raise ClientPayloadError(f"invalid event stream frame: {type(error).__name__}") from None


def _payload(message: Any) -> bytes:
    """Return the part of the response that an event holds."""
    if message.headers.get(":message-type") != "event":
        raise ClientPayloadError(f"the stream failed: {message.headers.get(':exception-type', 'an error')}")
    part: bytes = message.payload if message.headers.get(":event-type") == "PayloadPart" else b""
    return part
