"""Append-only journal of the calls to a teacher, with every line on disk before it takes effect.

A call is open from before it is sent until its answer is written. A call that is open when the process dies may have
been billed, so its worst-case cost stays counted; a written answer is never requested again. Only the last line can be
incomplete, and is truncated.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class JournalError(ValueError):
    """The journal is unusable; the message names the file and any invalid line."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    call: str
    """Id of the request, or of the batch of requests."""


class Sent(_Line):
    """A call is about to be sent."""

    kind: Literal["sent"] = "sent"
    at_most: dict[str, int]
    """Worst-case cost of each question in nano-dollars, by key."""
    at: int
    """Unix time in seconds."""
    batch: bool = False

    @property
    def nano_usd(self) -> int:
        return sum(self.at_most.values())


class Submitted(_Line):
    """The server accepted a batch under this id."""

    kind: Literal["submitted"] = "submitted"
    batch_id: str


class Answered(_Line):
    """The result of one question: an answer as canonical JSON, or a failure reason."""

    kind: Literal["answered"] = "answered"
    key: str
    answer: str | None = None
    failure: str | None = None
    model: str = ""
    """Model id stated by the answer."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    nano_usd: int = 0


class Closed(_Line):
    """The call has ended; unanswered questions were not billed."""

    kind: Literal["closed"] = "closed"
    reason: str


Entry = Annotated[Sent | Submitted | Answered | Closed, Field(discriminator="kind")]
_ENTRY: TypeAdapter[Sent | Submitted | Answered | Closed] = TypeAdapter(Entry)


@dataclass
class OpenCall:
    """An open call; `waiting` holds the worst-case cost of each unanswered question."""

    sent: Sent
    waiting: dict[str, int]
    batch_id: str | None = None


class Journal:
    """The journal of one model's answers. Raises `JournalError` where another process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels: dict[str, Answered] = {}
        self.failures: dict[str, list[str]] = {}
        self.open: dict[str, OpenCall] = {}
        self.spent = 0
        """Nano-dollars paid plus the worst-case cost of open calls."""
        self.paid = 0
        self.tokens: Counter[str] = Counter()
        self.models: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._replay()
        except BlockingIOError:
            os.close(self._file)
            raise JournalError(f"{self.path}: another process is labelling into it") from None
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)

    def write(self, entry: Sent | Submitted | Answered | Closed) -> None:
        """Append and fsync an entry. Raises `OSError`, leaving the file unchanged."""
        line = memoryview(entry.model_dump_json().encode() + b"\n")
        end = os.fstat(self._file).st_size
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            raise
        self._apply(entry)

    def needs_answer(self, key: str, tries: int) -> bool:
        """Return whether a question has no answer yet and fewer failures than `tries`."""
        return key not in self.labels and len(self.failures.get(key, ())) < tries

    def _replay(self) -> None:
        text = self.path.read_bytes()
        complete = text.rfind(b"\n") + 1
        if complete < len(text):
            os.ftruncate(self._file, complete)
        for number, line in enumerate(text[:complete].splitlines(), 1):
            try:
                self._apply(_ENTRY.validate_json(line))
            except ValidationError as error:
                raise JournalError(f"{self.path}:{number}: {error.errors(include_input=False)[0]['msg']}") from None
            except KeyError as error:
                raise JournalError(f"{self.path}:{number}: no open call or question {error}") from None

    def _apply(self, entry: Sent | Submitted | Answered | Closed) -> None:
        match entry:
            case Sent():
                self.open[entry.call] = OpenCall(entry, dict(entry.at_most))
                self.spent += entry.nano_usd
            case Submitted():
                self.open[entry.call].batch_id = entry.batch_id
            case Answered():
                self._settle(entry)
            case Closed():
                self.spent -= sum(self.open.pop(entry.call).waiting.values())

    def _settle(self, entry: Answered) -> None:
        call = self.open[entry.call]
        self.spent += entry.nano_usd - call.waiting.pop(entry.key)
        if not call.waiting:
            del self.open[entry.call]
        self.paid += entry.nano_usd
        for kind in ("prompt", "completion", "cached"):
            self.tokens[kind] += getattr(entry, f"{kind}_tokens")
        if entry.answer is None:
            self.failures.setdefault(entry.key, []).append(entry.failure or "unknown")
            return
        self.models[entry.model] += 1
        self.labels.setdefault(entry.key, entry)
