from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labeling.journal import Answered, Journal, JournalError

from .conftest import snapshot

END = st.one_of(st.just("open"), st.just("unbilled"), st.just("failed"), st.integers(0, 100))
"""How a call ends: not at all, unpaid, without a readable answer, or with an answer at a cost."""


@settings(max_examples=25, deadline=None)
@given(st.lists(END, max_size=8))
def test_a_journal_that_is_opened_again_holds_what_was_written(ends: list[str | int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        with Journal(path) as journal:
            for number, end in enumerate(ends):
                call, key = f"c{number}", f"brief-0-{number}"
                journal.send(call, {key: 100})
                if end == "unbilled":
                    journal.unbilled(call)
                elif end == "failed":
                    journal.answered(Answered(call, key, failure="length", nano_usd=100))
                elif isinstance(end, int):
                    journal.answered(Answered(call, key, answer="{}", model="m", prompt_tokens=3, nano_usd=end))
        costs = [end for end in ends if isinstance(end, int)]
        with Journal(path) as journal:
            assert [label.nano_usd for label in journal.labels.values()][::-1] == costs
            assert journal.paid == sum(costs) + 100 * ends.count("failed")
            assert journal.spent == journal.paid + 100 * journal.open_calls
            assert journal.open_calls == ends.count("open")
            assert journal.tokens["prompt"] == 3 * len(costs)
            assert journal.models["m"] == len(costs)
            for number, end in enumerate(ends):
                assert journal.needs_answer(f"brief-0-{number}", tries=1) is (end in ("open", "unbilled"))


def test_a_batch_is_settled_question_by_question(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.send("b", {"a": 10, "b": 20}, batch=True)
        journal.submitted("b", "batch_1")
        journal.answered(Answered("b", "a", answer="{}", nano_usd=4))
        assert (journal.spent, journal.paid) == (24, 4)
        (batch,) = journal.open_batches()
        assert (batch.batch_id, batch.waiting, batch.at_most) == ("batch_1", {"b"}, {"a": 10, "b": 20})
        journal.answered(Answered("b", "b", failure="no result"))
        assert (journal.spent, journal.paid, journal.open_batches()) == (4, 4, [])
        assert journal.needs_answer("b", tries=2)
        assert not journal.needs_answer("b", tries=1)
        assert not journal.needs_answer("a", tries=2)


def test_the_first_answer_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        for call in ("first", "second"):
            journal.send(call, {"a": 10})
            journal.answered(Answered(call, "a", answer="{}"))
        assert journal.labels["a"].call == "first"


def test_a_result_without_an_open_question_is_an_error(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal, pytest.raises(JournalError, match="no open call"):
        journal.answered(Answered("never", "sent"))


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path), pytest.raises(JournalError, match="another process"), Journal(path):
        pass
    with Journal(path):
        pass


def _database(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    database.execute(statement)
    database.close()


def test_a_journal_of_format_1_is_upgraded_and_keeps_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.send("first", {"a": 10})
        journal.answered(Answered("first", "a", answer="{}", nano_usd=7))
    _database(path, "ALTER TABLE question DROP COLUMN soft")
    _database(path, "PRAGMA user_version = 1")
    with Journal(path) as journal:
        assert journal.labels["a"] == Answered("first", "a", answer="{}", nano_usd=7)
        journal.send("second", {"b": 10})
        journal.answered(Answered("second", "b", answer="{}", soft='{"action":{"buy":1.0}}'))
    with Journal(path) as journal:
        assert journal.labels["b"].soft == '{"action":{"buy":1.0}}'


def test_a_file_of_another_kind_or_version_is_refused_by_name_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database at all, but longer than a header of one " * 20)
    _database(tmp_path / "other.sqlite", "CREATE TABLE other (x)")
    with Journal(tmp_path / "later.sqlite") as journal:
        journal.send("a", {"a": 1})
    _database(tmp_path / "later.sqlite", "PRAGMA user_version = 3")
    (tmp_path / "older.jsonl").write_text('{"kind":"sent"}\n')
    for name, message in (
        ("text.sqlite", r"text\.sqlite: it cannot be read as a journal"),
        ("other.sqlite", r"other\.sqlite has format 0, not 2"),
        ("later.sqlite", r"later\.sqlite has format 3, not 2"),
        ("older.sqlite", r"older\.jsonl is a journal of version 0\.2"),
    ):
        path = tmp_path / name
        content = path.read_bytes() if path.exists() else None
        with pytest.raises(JournalError, match=message), Journal(path):
            pass
        assert (path.read_bytes() if path.exists() else None) == content


def _fill(path: Path) -> None:
    """Write until the disk is full, as far as this process can tell; then die without closing anything."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    with Journal(path) as journal:
        for number in range(1000):
            try:
                journal.send(f"c{number}", {"key": 1})
            except JournalError:
                assert journal.open_calls == number
                (path.parent / "written").write_text(str(number))
                os.kill(os.getpid(), signal.SIGKILL)


def test_a_full_disk_and_a_kill_leave_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    process = multiprocessing.get_context("spawn").Process(target=_fill, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert snapshot(path).open_calls == int((tmp_path / "written").read_text()) > 0
