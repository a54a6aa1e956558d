"""A client that leaves gives up what was done for it."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.api.departure import while_there
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

    assert await while_there(request(asyncio.Event()), work()) == 7


async def test_the_work_s_error_is_raised() -> None:
    async def work() -> int:
        raise BackendError("failed")

    with pytest.raises(BackendError):
        await while_there(request(asyncio.Event()), work())


async def test_the_work_is_given_up_and_cleaned_up_once_the_client_has_left() -> None:
    left, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()
        return 7

    waiting = asyncio.create_task(while_there(request(left), work()))
    await asyncio.sleep(0.01)
    left.set()
    with pytest.raises(ClientGone):
        await waiting
    assert cleaned.is_set()


async def test_whoever_cancels_the_wait_cancels_the_work() -> None:
    given_up = asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            given_up.set()
        return 7

    waiting = asyncio.create_task(while_there(request(asyncio.Event()), work()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert given_up.is_set()
