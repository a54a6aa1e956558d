"""Errors that prevent the start: the command that serves the app reports them in one line, without a traceback."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ConvictionError

FAILED = "lifespan.startup.failed"


class StartErrors:
    """An app that keeps the error of its start; requests are passed on."""

    def __init__(self, app: ASGIApp) -> None:
        self.error: ConvictionError | None = None
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._start(scope, receive, send) if scope["type"] == "lifespan" else self._app(scope, receive, send)

    async def _start(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Message | None = None

        async def send_later(message: Message) -> None:
            """Send the message; that of a failure, which holds a traceback, once its error is known."""
            nonlocal failure
            if message["type"] == FAILED:
                failure = message
            else:
                await send(message)

        try:
            await self._app(scope, receive, send_later)
        except ConvictionError as error:
            if failure is None:
                raise
            self.error = error
            await send({"type": FAILED, "message": ""})
        except BaseException:
            if failure is not None:
                await send(failure)
            raise
