"""The wire format: what Redis says comes out the same however it is cut into pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError, ResponseError

from app.stores.resp import Replies, pack

REPLIES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def said(reply: Any) -> bytes:
    """A reply as Redis writes it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(map(said, reply))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REPLIES, max_size=6), st.data())
def test_replies_come_out_whole_however_they_are_cut(replies: list[Any], data: st.DataObject) -> None:
    text = b"".join(map(said, replies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    reader, heard = Replies(), []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        heard += list(reader.feed(text[start:end]))
    assert heard == replies


def test_a_command_is_an_array_of_what_it_was_given() -> None:
    assert pack("SET", b"\xff", "é", -5) == b"*4\r\n$3\r\nSET\r\n$1\r\n\xff\r\n$2\r\n\xc3\xa9\r\n$2\r\n-5\r\n"


def test_lines_and_refusals() -> None:
    line, refusal = Replies().feed(b"+OK\r\n-ERR no\r\n")
    assert line == b"OK"
    assert isinstance(refusal, ResponseError)
    assert str(refusal) == "ERR no"


def test_another_protocol_is_told_from_this() -> None:
    with pytest.raises(RedisError):
        list(Replies().feed(b"HTTP/1.1 400 Bad Request\r\n"))
