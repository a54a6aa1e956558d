from __future__ import annotations

import multiprocessing
import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.labeling.journal import Answered, Closed, Journal, JournalError, Sent, Submitted

END = st.one_of(st.none(), st.just("closed"), st.tuples(st.just("answered"), st.integers(0, 100)), st.just("failed"))
"""How a call ends: not at all, unpaid, with an answer at a cost, or with none to be read."""


def entries(ends: list[object]) -> list[Sent | Answered | Closed]:
    """A call per outcome, each with one question of at most 100 nano-dollars."""
    made: list[Sent | Answered | Closed] = []
    for number, end in enumerate(ends):
        call, key = f"c{number}", f"brief-0-{number}"
        made.append(Sent(call=call, at_most={key: 100}, at=0))
        if end == "closed":
            made.append(Closed(call=call, reason="http 500"))
        elif end == "failed":
            made.append(Answered(call=call, key=key, failure="length", nano_usd=100))
        elif isinstance(end, tuple):
            made.append(Answered(call=call, key=key, answer="{}", model="m", prompt_tokens=3, nano_usd=end[1]))
    return made


@given(st.lists(END, max_size=8), st.data())
def test_cut_off_at_any_byte_the_whole_lines_are_kept(ends: list[object], draw: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path) as journal:
            for entry in entries(ends):
                journal.write(entry)
        whole = path.read_bytes()
        cut = draw.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        kept = entries(ends)[: whole[:cut].count(b"\n")]
        answers = [entry for entry in kept if isinstance(entry, Answered)]
        with Journal(path) as journal:
            assert list(journal.labels) == [entry.key for entry in answers if entry.answer]
            assert journal.paid == sum(entry.nano_usd for entry in answers)
            assert journal.spent == journal.paid + 100 * len(journal.open)
            ended = {entry.call for entry in kept if not isinstance(entry, Sent)}
            assert set(journal.open) == {entry.call for entry in kept} - ended
            journal.write(Sent(call="next", at_most={"brief-0-x": 5}, at=0))
        assert path.read_bytes().count(b"\n") == len(kept) + 1


def test_a_batch_is_settled_question_by_question(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(Sent(call="b", at_most={"a": 10, "b": 20}, at=0, batch=True))
        journal.write(Submitted(call="b", batch_id="batch_1"))
        journal.write(Answered(call="b", key="a", answer="{}", nano_usd=4))
        assert (journal.spent, journal.paid) == (24, 4)
        assert journal.open["b"].batch_id == "batch_1"
        journal.write(Answered(call="b", key="b", failure="no result"))
        assert (journal.spent, journal.paid, journal.open) == (4, 4, {})
        assert journal.needs_answer("b", tries=2)
        assert not journal.needs_answer("b", tries=1)
        assert not journal.needs_answer("a", tries=2)


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path), pytest.raises(JournalError, match="another process"), Journal(path):
        pass


@pytest.mark.parametrize(
    ("line", "message"), [("{}", ":1: .*kind"), ('{"kind":"closed","call":"x","reason":"y"}', ":1: no open call")]
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(JournalError, match=message), Journal(path):
        pass


def _fill(path: Path) -> None:
    """Write until the disk is full, as far as this process can tell."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with Journal(path) as journal:
        for number in range(100):
            try:
                journal.write(Sent(call=f"c{number}", at_most={"key": 1}, at=0))
            except OSError:
                assert len(journal.open) == number
                return
    raise AssertionError("the disk never was full")


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    process = multiprocessing.get_context("spawn").Process(target=_fill, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    text = path.read_bytes()
    assert 900 < len(text) <= 1000
    assert text.endswith(b"\n")
    with Journal(path) as journal:
        assert len(journal.open) == text.count(b"\n")
