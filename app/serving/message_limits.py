"""Limits of what a client can send outside a request's body, applied while it is parsed and before it is kept.

The parser keeps the request line, each header and each trailer in memory without its own limit, and joins pieces
of a long header in quadratic time.
"""

from __future__ import annotations

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.serving.load_shedding import LoadSheddingProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request's line, headers and trailers together; also of its chunks' framing between two pieces of body."""
MAX_HEADERS = 100
"""Headers and trailers of a request."""
MAX_PIPELINED = 64
"""Requests that wait on a connection for the answer to an earlier one. Uvicorn reads on after each answer."""


class BoundedProtocol(LoadSheddingProtocol):
    """The HTTP protocol of one connection. It answers 431 above the limits of a message, and 501 for a transfer coding
    other than chunked, and closes the connection above that of pipelined requests."""

    _refusal = 400
    _undelivered = 0
    """Bytes received since the parser last reported a complete head, a piece of a body, or a complete message."""
    _head_bytes = _head_count = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        self._undelivered += len(data)
        super().data_received(data)
        if self._undelivered > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refusal = 431
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._head_count = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop a trailer, which must not be taken for one."""
        self._head_count += 1
        self._count(len(name) + len(value) + len(b": \r\n"))
        if self._in_head:
            super().on_header(name, value)
            if self.headers[-1][0] == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self._refuse_message(501)

    def on_headers_complete(self) -> None:
        self._undelivered, self._in_head = 0, False
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refuse_message(429)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._undelivered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._undelivered = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a message that cannot be parsed or exceeds a limit, and close the connection.

        While an earlier request on it is answered, only close it: the client would take this answer for that one's.
        """
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            head = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(msg)
            self.transport.write(STATUS_LINE[self._refusal] + head + msg.encode())
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or self._head_count > MAX_HEADERS:
            self._refuse_message(431)

    def _refuse_message(self, status: int) -> None:
        """Stop the parser, which makes uvicorn call `send_400_response`."""
        self._refusal = status
        raise HttpParserError(STATUS_LINE[status].decode())
