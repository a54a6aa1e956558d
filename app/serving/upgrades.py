"""Requests with an Upgrade header, which a server may ignore: they are answered as if it were absent.

The parser takes what follows the head of such a request for another protocol, so that a body would be lost.
"""

from __future__ import annotations

import sys

from httptools import HttpParserUpgrade

from app.serving.message_limits import BoundedProtocol

UPGRADE = b"upgrade"


class HttpProtocol(BoundedProtocol):
    """The gateway's HTTP protocol of one connection."""

    _ignoring = False
    """Whether the head of the current message is to be parsed again, without its Upgrade header."""
    _head_end = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        while self._ignoring and not self.transport.is_closing():
            self._ignoring = False
            data = self._head_without_upgrade() + data[self._head_end :]
            super().data_received(data)

    def on_headers_complete(self) -> None:
        names_upgrade = any(name == UPGRADE for name, _ in self.headers)
        self._ignoring = names_upgrade and self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._ignoring:
            self._undelivered = 0
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._ignoring:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Keep the position in the data after the head, from the error that uvicorn is handling."""
        error = sys.exc_info()[1]
        assert isinstance(error, HttpParserUpgrade)
        self._head_end = error.args[0]

    def _head_without_upgrade(self) -> bytes:
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = ((name, _without_upgrade(name, value)) for name, value in self.headers if name != UPGRADE)
        return line + b"".join(b"%s: %s\r\n" % header for header in kept) + b"\r\n"


def _without_upgrade(name: bytes, value: bytes) -> bytes:
    """Return a header's value; of Connection, without the option `upgrade`."""
    if name != b"connection":
        return value
    return b",".join(option for option in value.split(b",") if option.strip().lower() != UPGRADE)
