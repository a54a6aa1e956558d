"""Decoder of server-sent events.

The servers put each event's data on one line, because JSON needs no line breaks.
"""

from __future__ import annotations

from collections.abc import Iterator

DONE = b"[DONE]"
"""The data of a chat completion's last event."""

MAX_LINE_BYTES = 1 << 20
"""The limit of an incomplete line; a token with its alternatives has about two thousand bytes."""


class EventDecoder:
    """Splits bytes that arrive in pieces of any size into the data of events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of the events that the piece completes. Raises `ValueError` for a line that is too long."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise ValueError(f"a line of more than {MAX_LINE_BYTES} bytes does not end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
