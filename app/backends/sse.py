"""Server-sent events, cut out of the bytes as they arrive.

The servers asked here put each event's data on one line, since JSON needs no line breaks.
"""

from __future__ import annotations

from collections.abc import Iterator

DONE = b"[DONE]"
"""The data of the event that ends a chat completion."""

LONGEST = 1 << 20
"""Bytes without a line's end that are taken; a model's token with its alternatives has some two thousand."""


class Lines:
    """Takes bytes in pieces of any size and gives each event's data once its line is whole."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of the events that the piece completes. Raises `ValueError` for a line without an end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST:
            raise ValueError("a line that does not end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
