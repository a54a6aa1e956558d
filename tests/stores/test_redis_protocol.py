"""The protocol of a connection: replies are complete and in order, however the bytes are split."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError, ResponseError

from app.errors import StoreUnavailable
from app.stores.redis_protocol import RedisProtocol

REPLIES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


class Writer:
    """Records what is written; its own transport."""

    def __init__(self) -> None:
        self.written = b""
        self.transport = self
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def set_protocol(self, _: asyncio.Protocol) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


def opened() -> tuple[RedisProtocol, Writer]:
    writer = Writer()
    return RedisProtocol(cast(asyncio.StreamWriter, writer), 60), writer


def encoded(reply: Any) -> bytes:
    """A reply as Redis sends it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REPLIES, max_size=6), st.data())
def test_replies_are_complete_however_the_bytes_are_split(replies: list[Any], data: st.DataObject) -> None:
    text = b"".join(map(encoded, replies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))

    async def receive() -> list[Any]:
        protocol, _ = opened()
        futures = [protocol.send("PING") for _ in replies]
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            protocol.data_received(text[start:end])
        received = [future.result() for future in futures]
        protocol.disconnect()
        return received

    assert asyncio.run(receive()) == replies


async def test_a_command_is_an_array_of_its_arguments() -> None:
    protocol, writer = opened()
    protocol.write("SET", b"\xff", "é", -5)
    assert writer.written == b"*4\r\n$3\r\nSET\r\n$1\r\n\xff\r\n$2\r\n\xc3\xa9\r\n$2\r\n-5\r\n"


async def test_status_and_error_replies() -> None:
    protocol, _ = opened()
    status, error = protocol.send("SET", "a", "b"), protocol.send("NO")
    protocol.data_received(b"+OK\r\n-ERR no\r\n")
    assert await status == b"OK"
    with pytest.raises(ResponseError) as raised:
        await error
    assert str(raised.value) == "ERR no"
    protocol.disconnect()


async def test_another_protocol_closes_the_connection() -> None:
    protocol, writer = opened()
    reply = protocol.send("PING")
    protocol.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(StoreUnavailable) as raised:
        await reply
    assert isinstance(raised.value.__cause__, RedisError)
    assert (protocol.closed, writer.aborted) == (True, True)
