"""What was sent and what came back: a line each, on the disk before anything rests on it.

A call stands open from before it is sent until its answer is written. One that is open when the process
dies may have been paid for, so its dearest case stays counted; an answer that is written is never asked
for again. Only the last line can be torn, and is cut off.
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
    """The journal cannot be used; the message names the file and, where one is wrong, the line."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    call: str
    """The request that the line is about, or the batch of them."""


class Sent(_Line):
    """A call is about to be sent."""

    kind: Literal["sent"] = "sent"
    at_most: dict[str, int]
    """The most that each question can cost, in nano-dollars, by its key."""
    at: int
    """Unix time in seconds."""
    batch: bool = False

    @property
    def nano_usd(self) -> int:
        return sum(self.at_most.values())


class Submitted(_Line):
    """The server took a batch, and calls it so."""

    kind: Literal["submitted"] = "submitted"
    batch_id: str


class Answered(_Line):
    """What came back for one question: an answer as canonical JSON, or why there is none."""

    kind: Literal["answered"] = "answered"
    key: str
    answer: str | None = None
    failure: str | None = None
    model: str = ""
    """The model's id as the answer gives it."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    nano_usd: int = 0


class Closed(_Line):
    """Nothing more will come, and what was not answered was not paid for."""

    kind: Literal["closed"] = "closed"
    reason: str


Entry = Annotated[Sent | Submitted | Answered | Closed, Field(discriminator="kind")]
_ENTRY: TypeAdapter[Sent | Submitted | Answered | Closed] = TypeAdapter(Entry)


@dataclass
class OpenCall:
    """A call without an end so far; `waiting` is what each question without an answer may cost."""

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
        """Nano-dollars paid, and what open calls may cost."""
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
        """On the disk when this returns; not at all where it raises `OSError`."""
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

    def wants(self, key: str, tries: int) -> bool:
        """Whether a question has no answer yet, and has not failed too often."""
        return key not in self.labels and len(self.failures.get(key, ())) < tries

    def _replay(self) -> None:
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.ftruncate(self._file, whole)
        for number, line in enumerate(text[:whole].splitlines(), 1):
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
