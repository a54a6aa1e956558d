"""Cancels the work for a client that disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.errors import ClientGone

T = TypeVar("T")


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work; if the client disconnects first, cancel it and raise `ClientGone`.

    The body of the request must have been read: the next message is then the disconnect.
    """
    task = asyncio.current_task()
    assert task is not None, "requests are answered in tasks"
    cancellations = task.cancelling()
    watch = asyncio.create_task(_cancel_at_disconnect(request, task))
    try:
        return await work
    finally:
        disconnected = not watch.cancel()
        if disconnected and task.uncancel() <= cancellations:
            raise ClientGone("the client disconnected before its answer") from None


class CancellableStream(StreamingResponse):
    """A streaming response whose generator is closed when the client disconnects."""

    body_iterator: AsyncGenerator[bytes, None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await cancel_on_disconnect(Request(scope, receive), self.stream_response(send))

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):
            await super().stream_response(send)


async def _cancel_at_disconnect(request: Request, task: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()
