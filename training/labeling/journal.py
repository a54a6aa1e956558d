"""SQLite journal of the questions to a teacher: one row a question and call, committed before it takes effect.

A row is open from before its call is sent until its result is written. A row that is open when the process dies may
have been billed, so its worst-case cost stays counted; a question that has an answer is never sent again.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

APPLICATION_ID, FORMAT = 0x436F6E76, 2
"""SQLite's application_id and user_version of a journal. Format 1, without `soft`, is upgraded when it is opened."""
UPGRADE = "BEGIN; ALTER TABLE question ADD COLUMN soft TEXT; PRAGMA user_version = 2; COMMIT;"

SCHEMA = f"""
BEGIN;
CREATE TABLE question (
    call TEXT NOT NULL, -- id of the request, or of the batch of requests
    key TEXT NOT NULL,
    sent_at INTEGER NOT NULL, -- Unix time in seconds
    batch INTEGER NOT NULL,
    batch_id TEXT, -- the server's
    at_most INTEGER NOT NULL, -- worst-case cost in nano-dollars
    nano_usd INTEGER, -- NULL while the row is open
    answer TEXT, -- canonical JSON; NULL where there is a failure
    failure TEXT,
    model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER,
    soft TEXT, -- probabilities of action and conviction as JSON
    PRIMARY KEY (call, key)
) STRICT;
CREATE INDEX question_key ON question (key);
CREATE INDEX question_cost ON question (nano_usd, at_most);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class JournalError(ValueError):
    """The journal cannot be used; the message names the file."""


@dataclass(frozen=True)
class Answered:
    """The result of one question of a call: an answer as canonical JSON, or a failure reason."""

    call: str
    key: str
    answer: str | None = None
    failure: str | None = None
    model: str = ""
    """Model id stated by the answer."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    nano_usd: int = 0
    soft: str | None = None
    """The probabilities of the answer's action and conviction, where the server states them, as JSON."""


@dataclass(frozen=True)
class OpenBatch:
    """A batch with open questions; `at_most` holds the worst-case cost of all its questions by key."""

    call: str
    sent_at: int
    batch_id: str | None
    at_most: Mapping[str, int]
    waiting: set[str]
    """Keys of the questions that are still open."""


class Journal:
    """The journal of one model's answers, held by one process. Raises `JournalError` for a file of another format."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        if (older := self.path.with_suffix(".jsonl")).exists():
            raise JournalError(f"{older} is a journal of version 0.2, which is not read: move it away to label again")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.path, timeout=0)
        try:
            self._open()
        except BaseException as error:
            self._database.close()
            if not isinstance(error, sqlite3.Error):
                raise
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            reason = "another process is labelling into it" if busy else f"it cannot be read as a journal: {error}"
            raise JournalError(f"{self.path}: {reason}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()

    def send(self, call: str, at_most: Mapping[str, int], *, batch: bool = False) -> None:
        """Record a call that is about to be sent, with the worst-case cost of each question by key."""
        rows = [(call, key, int(time.time()), batch, cost) for key, cost in at_most.items()]
        self._write("INSERT INTO question (call, key, sent_at, batch, at_most) VALUES (?, ?, ?, ?, ?)", *rows)

    def submitted(self, call: str, batch_id: str) -> None:
        """Record the id under which the server accepted a batch."""
        self._write("UPDATE question SET batch_id = ? WHERE call = ?", (batch_id, call))

    def answered(self, result: Answered) -> None:
        """Record the result of an open question."""
        columns = [name for name in Answered.__dataclass_fields__ if name not in ("call", "key")]
        values = ", ".join(f"{name} = :{name}" for name in columns)
        self._write(f"UPDATE question SET {values} WHERE call = :call AND key = :key", asdict(result))  # noqa: S608

    def unbilled(self, call: str) -> None:
        """Forget the open questions of a call, which were not billed."""
        self._write("DELETE FROM question WHERE call = ? AND nano_usd IS NULL", (call,))

    def needs_answer(self, key: str, tries: int) -> bool:
        """Return whether a question has no answer yet and fewer failures than `tries`."""
        ((answers, failures),) = self._read("SELECT count(answer), count(failure) FROM question WHERE key = ?", key)
        return bool(answers == 0 and failures < tries)

    @property
    def spent(self) -> int:
        """Nano-dollars paid plus the worst-case cost of open questions."""
        return int(self._read("SELECT coalesce(sum(coalesce(nano_usd, at_most)), 0) FROM question")[0][0])

    @property
    def paid(self) -> int:
        return int(self._read("SELECT coalesce(sum(nano_usd), 0) FROM question")[0][0])

    @property
    def open_calls(self) -> int:
        return int(self._read("SELECT count(DISTINCT call) FROM question WHERE nano_usd IS NULL")[0][0])

    @property
    def labels(self) -> dict[str, Answered]:
        """The first answer to each question, by key."""
        columns = ", ".join(Answered.__dataclass_fields__)
        rows = self._read(f"SELECT {columns} FROM question WHERE answer IS NOT NULL ORDER BY rowid DESC")  # noqa: S608
        return {row[1]: Answered(*row) for row in rows}

    @property
    def failures(self) -> dict[str, list[str]]:
        """The reasons of each question's failures, by key."""
        found: dict[str, list[str]] = {}
        for key, reason in self._read("SELECT key, failure FROM question WHERE failure IS NOT NULL ORDER BY rowid"):
            found.setdefault(key, []).append(reason)
        return found

    @property
    def tokens(self) -> dict[str, int]:
        kinds = ("prompt", "completion", "cached")
        sums = ", ".join(f"coalesce(sum({kind}_tokens), 0)" for kind in kinds)
        return dict(zip(kinds, self._read(f"SELECT {sums} FROM question")[0], strict=True))  # noqa: S608

    @property
    def models(self) -> Counter[str]:
        """The number of answers by the model id that they state."""
        return Counter(dict(self._read("SELECT model, count(*) FROM question WHERE answer IS NOT NULL GROUP BY model")))

    def open_batches(self) -> list[OpenBatch]:
        """Return the batches with open questions, the oldest first."""
        query = "SELECT call FROM question WHERE batch AND nano_usd IS NULL GROUP BY call ORDER BY min(rowid)"
        return [self.batch(call) for (call,) in self._read(query)]

    def batch(self, call: str) -> OpenBatch:
        rows = self._read("SELECT sent_at, batch_id, key, at_most, nano_usd FROM question WHERE call = ?", call)
        waiting = {key for _, _, key, _, nano_usd in rows if nano_usd is None}
        return OpenBatch(call, rows[0][0], rows[0][1], {row[2]: row[3] for row in rows}, waiting)

    def _open(self) -> None:
        """Take the lock, which the operating system releases when the process dies, and check the format."""
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("BEGIN EXCLUSIVE").connection.commit()
        found = tuple(self._read(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version"))
        if not self._read("SELECT * FROM sqlite_schema"):
            self._database.executescript(SCHEMA)
        elif found == (APPLICATION_ID, 1):
            self._database.executescript(UPGRADE)
        elif found != (APPLICATION_ID, FORMAT):
            raise JournalError(f"{self.path} has format {found[1]}, not {FORMAT}, or is no journal: move it away")
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._database.execute(f"PRAGMA {pragma}")

    def _write(self, statement: str, *rows: Any) -> None:
        """Run a statement for each row in one transaction. Raises `JournalError`, leaving the file unchanged."""
        try:
            with self._database:
                changed = self._database.executemany(statement, rows).rowcount
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from None
        if not changed:
            raise JournalError(f"{self.path}: no open call or question for {rows}")

    def _read(self, query: str, *parameters: Any) -> list[Any]:
        return self._database.execute(query, parameters).fetchall()
