"""Time limits for receiving a request: for its headers, for its body, and for the rest of a body after its response."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEADER_TIMEOUT_S = 30.0
"""The time for a request's headers, from the start of the connection or the request's first byte."""
BODY_TIMEOUT_S = 60.0
"""The time for a request's body, from the end of its headers. An endpoint's deadline may be earlier."""
LINGER_S = 2.0
"""The time for the rest of a body after the response, such as a refusal; then the connection is closed. Closing it
immediately would reset it, and the client might not read the response."""
TIMEOUT_RESPONSE = STATUS_LINE[408] + b"content-length: 0\r\nconnection: close\r\n\r\n"


class TimedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol for one connection, which closes it if a request does not arrive in time."""

    body_timeout_s: ClassVar[float] = BODY_TIMEOUT_S
    _timer: TimerHandle | None = None
    _in_body = False
    """Whether the headers of the current message have arrived and its body has not."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer(HEADER_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer(HEADER_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        self._begin_body()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._end_body()
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._start_keep_alive()  # uvicorn has ended it with the body's last bytes

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._start_timer(LINGER_S)

    def _begin_body(self) -> None:
        self._in_body = True
        self._start_timer(self.body_timeout_s)

    def _end_body(self) -> None:
        self._in_body = False
        self._stop_timer()

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _start_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _on_timeout(self) -> None:
        """Answer 408 and close the connection, or only close it after the start of a response.

        Behind an earlier request that is still being answered, the limit starts again: reading may be paused.
        """
        if self.transport.is_closing():
            return
        if self.pipeline or (not self._in_body and self._answering()):
            self._start_timer(HEADER_TIMEOUT_S)
            return
        if not self._in_body or self.cycle is None or not self.cycle.response_started:
            self.transport.write(TIMEOUT_RESPONSE)
        self.transport.close()

    def _answering(self) -> bool:
        """Return whether a request on the connection is being answered."""
        return self.cycle is not None and not self.cycle.response_complete
