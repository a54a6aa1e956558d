"""The wire format of Redis (RESP2), as far as one client's commands and their replies need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError, ResponseError

Argument = bytes | str | int


def pack(*command: Argument) -> bytes:
    """A command as it goes over the wire."""
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        data = argument if type(argument) is bytes else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Replies:
    """Takes what a connection receives, in pieces of any size, and gives the replies that are whole.

    A reply is bytes, an int, None, a list of such, or, where Redis refused, a `ResponseError`, which is not raised.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        """The replies that end in the data. Raises `RedisError` for what is no reply."""
        data = self._rest + data
        place = 0
        try:
            while place < len(data):
                reply, place = _parse(data, place)
                yield reply
        except _Partial:
            pass
        self._rest = data[place:]


class _Partial(Exception):
    """The data end before the reply does."""


def _parse(data: bytes, place: int) -> tuple[Any, int]:
    """The reply that begins at a place, and the place after it."""
    end = data.find(b"\r\n", place)
    if end < 0:
        raise _Partial
    kind, head, place = data[place], data[place + 1 : end], end + 2
    if kind == 0x24:  # $
        size = int(head)
        if size < 0:
            return None, place
        if len(data) < place + size + 2:
            raise _Partial
        return data[place : place + size], place + size + 2
    if kind == 0x2A:  # *
        items = []
        for _ in range(int(head)):
            item, place = _parse(data, place)
            items.append(item)
        return items, place
    if kind == 0x3A:  # :
        return int(head), place
    if kind == 0x2B:  # +
        return head, place
    if kind == 0x2D:  # -
        return ResponseError(head.decode("utf-8", "replace")), place
    raise RedisError("Redis said something that is not its protocol")
