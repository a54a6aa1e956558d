"""Work is cancelled when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.api.disconnect import CancellableStream, cancel_on_disconnect
from app.errors import BackendError, ClientGone


def request(left: asyncio.Event) -> Request:
    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "headers": []}, receive)


async def test_the_work_s_result_is_given_while_the_client_is_there() -> None:
    async def work() -> int:
        await asyncio.sleep(0.01)
        return 7

    assert await cancel_on_disconnect(request(asyncio.Event()), work()) == 7


async def test_the_work_s_error_is_raised() -> None:
    async def work() -> int:
        raise BackendError("failed")

    with pytest.raises(BackendError):
        await cancel_on_disconnect(request(asyncio.Event()), work())


async def test_a_disconnect_cancels_the_work_and_awaits_its_cleanup() -> None:
    left, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()
        return 7

    waiting = asyncio.create_task(cancel_on_disconnect(request(left), work()))
    await asyncio.sleep(0.01)
    left.set()
    with pytest.raises(ClientGone):
        await waiting
    assert cleaned.is_set()


@pytest.mark.parametrize("outcome", ["a result", "an error"])
async def test_the_outcome_of_cancelled_work_is_dropped_and_its_request_goes_on(outcome: str) -> None:
    left = asyncio.Event()

    async def work() -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        if outcome == "an error":
            raise BackendError("failed")
        return 7

    async def answer() -> str:
        try:
            return str(await cancel_on_disconnect(request(left), work()))
        except ClientGone as gone:
            await asyncio.sleep(0.01)
            return gone.code

    answering = asyncio.create_task(answer())
    await asyncio.sleep(0.01)
    left.set()
    assert await answering == ClientGone.code
    assert not answering.cancelling()


async def test_cancelling_the_wait_cancels_the_work() -> None:
    given_up = asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            given_up.set()
        return 7

    waiting = asyncio.create_task(cancel_on_disconnect(request(asyncio.Event()), work()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert given_up.is_set()


class Reader:
    """Receives messages at a given pace."""

    def __init__(self) -> None:
        self.left, self.slow = asyncio.Event(), False
        self.received = b""

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.slow and message["type"] == "http.response.body":
            await asyncio.sleep(30)
        self.received += message.get("body", b"")


class Source:
    """Says a, b and c, and knows whether it has been closed."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.closed = False
        self._pause_s = pause_s

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            for said in (b"a", b"b", b"c"):
                yield said
                await asyncio.sleep(self._pause_s)
        finally:
            await asyncio.sleep(0.01)
            self.closed = True


async def streamed(reader: Reader, source: Source) -> None:
    scope = {"type": "http", "method": "GET", "headers": []}
    await CancellableStream(source())(scope, reader.receive, reader.send)


async def test_a_stream_is_sent_to_its_end() -> None:
    reader, source = Reader(), Source()
    await streamed(reader, source)
    assert (reader.received, source.closed) == (b"abc", True)


@pytest.mark.parametrize("slow", [False, True], ids=["while it is made", "while it is sent"])
async def test_a_stream_whose_reader_leaves_is_closed_before_anything_else_is_done(slow: bool) -> None:
    reader, source = Reader(), Source(30.0)
    reader.slow = slow
    sending = asyncio.create_task(streamed(reader, source))
    await asyncio.sleep(0.05)
    reader.left.set()
    with pytest.raises(ClientGone):
        await sending
    assert source.closed
