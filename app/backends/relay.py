"""Forwarding of a chat completion's bytes, with the usage read from them."""

from __future__ import annotations

import re
from math import ceil

from pydantic import ValidationError

from app.backends.estimate import CHARACTERS_PER_TOKEN
from app.backends.events import CompletionDocument, UsageDocument
from app.backends.sse import DONE, MAX_LINE_BYTES
from app.contract.completion import Usage

USAGE = re.compile(rb'"usage"\s*:\s*\{')
USAGE_MEMBER = re.compile(rb',\s*"usage"\s*:\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}')
CHOICES = re.compile(rb'"choices"\s*:\s*\[')
CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\{')
NO_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\]')
TEXT = re.compile(rb'"(?:content|reasoning|reasoning_content|refusal|arguments)"\s*:\s*"[^"]')
"""Members of an event's JSON; quotes within its strings are escaped."""
EVENT_ENDS = (b"\n\n", b"\n\r\n")
MAX_DOCUMENT_BYTES = 1 << 24


class DocumentRelay:
    """A response that is one JSON document, with the interface of `EventRelay`."""

    def __init__(self) -> None:
        self.done = False
        self._document: list[bytes] = []
        self._received = 0

    def feed(self, piece: bytes) -> bytes:
        """Withhold the piece. Raises `ValueError` for a document that is too long."""
        self._received += len(piece)
        if self._received > MAX_DOCUMENT_BYTES:
            raise ValueError(f"a document of more than {MAX_DOCUMENT_BYTES} bytes")
        self._document.append(piece)
        return b""

    @property
    def text_events(self) -> int:
        """The number of tokens in what has been received, if the document states none."""
        return ceil(self._received / CHARACTERS_PER_TOKEN)

    def flush(self) -> bytes:
        """Return the document. Raises `ValueError` if it is no completion."""
        document = b"".join(self._document)
        CompletionDocument.model_validate_json(document)
        return document

    @property
    def begun(self) -> bool:
        return CHOICE.search(b"".join(self._document)) is not None

    @property
    def usage(self) -> Usage | None:
        document = b"".join(self._document)
        return parse_usage(document, TEXT.search(document) is not None)


class EventRelay:
    """A response that is an event stream.

    The event with the usage alone is forwarded only if the client requested it, and usage beside text is removed if
    the gateway alone requested it (`strip_usage`). The end marker is withheld until the response ends, because a client
    disconnects when it has read it.
    """

    def __init__(self, usage_requested: bool, strip_usage: bool = False) -> None:
        self.done = False
        """Whether the end marker has arrived."""
        self.text_events = 0
        """The number of forwarded events with text."""
        self.begun = False
        """Whether a choice has arrived, so that tokens were generated."""
        self._usage_requested = usage_requested
        self._strip_usage = strip_usage
        self._rest = b""
        self._usage_event = b""
        self._skip_blank_line = False

    def feed(self, piece: bytes) -> bytes:
        """Return the complete lines to forward. Raises `ValueError` for an event that is none of a completion's."""
        if self.done:
            self._rest += piece
            return b""
        forwarded = []
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for position, line in enumerate(lines):
            if self._should_forward(line):
                forwarded.append(self._for_client(line) + b"\n")
            elif self.done:
                self._rest = b"\n".join([*lines[position:], self._rest])
                break
        if len(self._rest) > MAX_LINE_BYTES:
            raise ValueError(f"a line of more than {MAX_LINE_BYTES} bytes does not end")
        return b"".join(forwarded)

    def flush(self) -> bytes:
        """Return the bytes withheld until the end of the response. Raises `ValueError` if it is no completion."""
        if not (self.done and self.begun):
            raise ValueError("the stream ended without its end marker or without a choice")
        return self._rest if self._rest.endswith(EVENT_ENDS) else self._rest + b"\n\n"

    @property
    def usage(self) -> Usage | None:
        """The usage that the server has reported so far."""
        return parse_usage(self._usage_event, self.text_events > 0)

    def _should_forward(self, line: bytes) -> bool:
        if not line.startswith(b"data:"):
            skip, self._skip_blank_line = self._skip_blank_line and not line.strip(), False
            return not skip
        data = line[5:].strip()
        self.done = data == DONE
        if data and not self.done and CHOICES.search(data) is None:
            raise ValueError("an event without choices, such as an error")
        self.begun = self.begun or CHOICE.search(data) is not None
        self.text_events += TEXT.search(data) is not None
        if USAGE.search(data):
            self._usage_event = data
            self._skip_blank_line = not self._usage_requested and NO_CHOICE.search(data) is not None
        return not (self._skip_blank_line or self.done)

    def _for_client(self, line: bytes) -> bytes:
        """Return the line without a usage that the gateway alone requested."""
        if not self._strip_usage or (self._usage_requested and NO_CHOICE.search(line)):
            return line
        return USAGE_MEMBER.sub(b"", line, 1)


def parse_usage(document: bytes, text_received: bool) -> Usage | None:
    """Return the usage of a completion or an event; None if it holds none that is possible."""
    try:
        return Usage.reported(UsageDocument.model_validate_json(document).usage, text_received)
    except ValidationError:
        return None
