"""The bytes of a chat completion on their way through, and what they tell of its tokens."""

from __future__ import annotations

import re
from typing import Protocol

from pydantic import ValidationError

from app.backends.events import Metered
from app.backends.sse import DONE, LONGEST
from app.contract.completion import Usage

USAGE = re.compile(rb'"usage"\s*:\s*\{')
USAGE_MEMBER = re.compile(rb',\s*"usage"\s*:\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}')
NO_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\]')
SAID = re.compile(rb'"(?:content|reasoning|reasoning_content|refusal|arguments)"\s*:\s*"[^"]')
"""Members of an event's JSON; within its strings a quote would be escaped."""
EVENT_ENDS = (b"\n\n", b"\n\r\n")


class Relay(Protocol):
    """Takes a response's bytes and gives those for the client."""

    done: bool
    """The server has said that this is all."""
    pieces: int
    """Of text, that have passed."""

    def feed(self, piece: bytes) -> bytes: ...

    def rest(self) -> bytes:
        """What was kept back until the response ended. Raises `ValueError` where it ended too early."""
        ...

    @property
    def told(self) -> Usage | None:
        """What was used, as far as the server has told."""
        ...


class Document:
    """A response that is one document."""

    def __init__(self) -> None:
        self.done = False
        self.pieces = 0
        self._document: list[bytes] = []

    def feed(self, piece: bytes) -> bytes:
        self._document.append(piece)
        return piece

    def rest(self) -> bytes:
        return b""

    @property
    def told(self) -> Usage | None:
        return _told(b"".join(self._document))


class Events:
    """A response that is an event stream. Its event with the usage alone passes only if the client asked for it, and
    a usage beside text not where the gateway alone did (`tallied`).

    What says that this is all is kept back: a client that has read it leaves.
    """

    def __init__(self, usage_asked: bool, tallied: bool = False) -> None:
        self.done = False
        self.pieces = 0
        self._usage_asked = usage_asked
        self._tallied = tallied
        self._rest = b""
        self._usage = b""
        self._withheld = False

    def feed(self, piece: bytes) -> bytes:
        """Whole lines pass. Raises `ValueError` for one without an end."""
        if self.done:
            self._rest += piece
            return b""
        passed = []
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for place, line in enumerate(lines):
            if self._passes(line):
                passed.append(self._as_asked(line) + b"\n")
            elif self.done:
                self._rest = b"\n".join([*lines[place:], self._rest])
                break
        if len(self._rest) > LONGEST:
            raise ValueError("a line that does not end")
        return b"".join(passed)

    def rest(self) -> bytes:
        if not self.done:
            raise ValueError("no end")
        return self._rest if self._rest.endswith(EVENT_ENDS) else self._rest + b"\n\n"

    @property
    def told(self) -> Usage | None:
        return _told(self._usage)

    def _passes(self, line: bytes) -> bool:
        if not line.startswith(b"data:"):
            withheld, self._withheld = self._withheld and not line.strip(), False
            return not withheld
        data = line[5:].strip()
        self.done = data == DONE
        self.pieces += SAID.search(data) is not None
        if USAGE.search(data):
            self._usage = data
            self._withheld = not self._usage_asked and NO_CHOICE.search(data) is not None
        return not (self._withheld or self.done)

    def _as_asked(self, line: bytes) -> bytes:
        """The line, without a usage that only the gateway asked for."""
        if not self._tallied or (self._usage_asked and NO_CHOICE.search(line)):
            return line
        return USAGE_MEMBER.sub(b"", line, 1)


def _told(document: bytes) -> Usage | None:
    try:
        report = Metered.model_validate_json(document).usage
    except ValidationError:
        return None
    return report.usage() if report else None
