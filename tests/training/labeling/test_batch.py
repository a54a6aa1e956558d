from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from app.stand_in import create_stand_in
from tests.conftest import served
from training.labeling import batch
from training.labeling.batch import Batches
from training.labeling.cap import Cap, CapReached
from training.labeling.connection import TeacherFailed, connect
from training.labeling.journal import Journal
from training.labeling.tariff import Tariff

from .conftest import Snapshot, question, snapshot
from .stand_in_batches import Fate, StandInBatches

KEY = "sk-batches-0123456789abcdef"
TARIFF = Tariff.of("gpt-4.1", batch=True)
QUESTIONS = [question(ticker, "full" if ticker == "A" else "brief") for ticker in "ABCDEF"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInBatches]:
    double = StandInBatches(create_stand_in(key=KEY), KEY)
    monkeypatch.setattr(batch, "FIRST_POLL_S", 0.001)
    with served(double.app) as origin:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{origin}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield double


async def ask(
    path: Path, *, usd_nano: int = 10**9, tries: int = 3, requests: int = 50_000, wanted: Any = QUESTIONS
) -> Snapshot:
    with Journal(path / "journal.sqlite") as journal:
        async with connect() as client:
            await Batches(client, Cap(journal, usd_nano), TARIFF, tries, requests).ask(wanted)
    return reopened(path)


def reopened(path: Path) -> Snapshot:
    return snapshot(path / "journal.sqlite")


async def test_a_batch_is_answered_at_half_the_price(tmp_path: Path, server: StandInBatches) -> None:
    journal = await ask(tmp_path)
    whole = Tariff.of("gpt-4.1", batch=False)
    for one in QUESTIONS:
        label = journal.labels[one.key]
        assert label.answer == canonical(answer(one.prompt.metrics, one.prompt.detail))
        full = whole.nano_usd(label.prompt_tokens, label.completion_tokens, label.cached_tokens)
        assert label.nano_usd == -(-full // 2)
    assert list(server.batches) == ["batch_1"]
    assert journal.spent == journal.paid > 0
    await ask(tmp_path)
    assert list(server.batches) == ["batch_1"]


async def test_what_expired_failed_or_is_missing_is_sent_again_and_nothing_else(
    tmp_path: Path, server: StandInBatches
) -> None:
    server.fates = [Fate(expire=frozenset({0, 3}), fail={1: 500}, lose=frozenset({5}), status="expired")]
    journal = await ask(tmp_path)
    assert len(journal.labels) == len(QUESTIONS)
    assert server.requests["batch_2"] == [QUESTIONS[place].key for place in (0, 1, 3, 5)]
    assert [journal.failures[QUESTIONS[place].key] for place in (0, 1, 3, 5)] == [
        ["batch batch_expired"],
        ["http 500 server_error"],
        ["batch batch_expired"],
        ["no result, batch expired"],
    ]
    assert journal.spent == journal.paid == sum(label.nano_usd for label in journal.labels.values())


async def test_a_cancelled_batch_keeps_what_it_answered(tmp_path: Path, server: StandInBatches) -> None:
    server.fates = [Fate(lose=frozenset(range(1, 6)), status="cancelled")]
    journal = await ask(tmp_path)
    assert [len(names) for names in server.requests.values()] == [6, 5]
    assert len(journal.labels) == len(QUESTIONS)


async def test_what_fails_each_time_fails_for_good(tmp_path: Path, server: StandInBatches) -> None:
    server.fates = [Fate(fail={2: 500}), Fate(fail={0: 500})]
    journal = await ask(tmp_path, tries=2)
    assert set(journal.failures) == {QUESTIONS[2].key}
    assert QUESTIONS[2].key not in journal.labels
    assert len(server.batches) == 2


async def test_a_bad_answer_is_paid_for_and_asked_again(tmp_path: Path, server: StandInBatches) -> None:
    def cut(result: dict[str, Any]) -> dict[str, Any]:
        result["response"]["body"]["choices"][0]["finish_reason"] = "length"
        return result

    server.fates = [Fate(change=cut)]
    journal = await ask(tmp_path)
    assert {reason for reasons in journal.failures.values() for reason in reasons} == {"length"}
    assert len(journal.labels) == len(QUESTIONS)
    assert journal.paid > sum(label.nano_usd for label in journal.labels.values())


async def test_batches_are_as_small_as_asked(tmp_path: Path, server: StandInBatches) -> None:
    await ask(tmp_path, requests=4)
    assert [len(names) for names in server.requests.values()] == [4, 2]


async def test_files_keep_to_their_size(
    tmp_path: Path, server: StandInBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_BYTES", 6_000)
    await ask(tmp_path)
    uploads = [server.files[one["input_file_id"]] for one in server.batches.values()]
    assert len(uploads) > 1
    assert all(len(upload) <= 6_000 for upload in uploads)
    assert sum(len(names) for names in server.requests.values()) == len(QUESTIONS)


async def test_batches_shrink_towards_the_cap_and_stop_before_it(tmp_path: Path, server: StandInBatches) -> None:
    wanted = [question(f"T{number}") for number in range(10, 50)]
    at_most = TARIFF.at_most(wanted[0].prompt)
    cap = 4 * at_most
    with pytest.raises(CapReached, match=r"teacher\.max_usd"):
        await ask(tmp_path, usd_nano=cap, wanted=wanted)
    some, sizes = reopened(tmp_path), [len(names) for names in server.requests.values()]
    assert sizes[0] == 4
    assert sizes == sorted(sizes, reverse=True)
    assert some.spent == some.paid <= cap < some.spent + at_most
    assert sum(sizes) == len(some.labels) < len(wanted)
    await ask(tmp_path, wanted=wanted)
    sent = [name for names in server.requests.values() for name in names]
    assert sorted(sent) == sorted(one.key for one in wanted)


async def test_a_batch_that_is_not_taken_is_reported_by_its_code_alone(tmp_path: Path, server: StandInBatches) -> None:
    server.fates = [Fate(status="failed", code="token_limit_exceeded")]
    with pytest.raises(TeacherFailed, match=r"token_limit_exceeded.*batch_requests") as caught:
        await ask(tmp_path)
    assert KEY not in str(caught.value) and KEY.encode() not in (tmp_path / "journal.sqlite").read_bytes()
    assert reopened(tmp_path).spent == 0
    assert len((await ask(tmp_path)).labels) == len(QUESTIONS)


async def test_an_answer_to_what_was_not_asked_stops_it(tmp_path: Path, server: StandInBatches) -> None:
    server.fates = [Fate(change=lambda result: {**result, "custom_id": "brief-0-other"})]
    with pytest.raises(TeacherFailed, match="its custom_id is not a question of this batch"):
        await ask(tmp_path)


class Died(Exception):
    """Simulates the end of the process."""


@pytest.mark.parametrize("hook", ["after_create", "before_poll"])
async def test_a_batch_in_flight_is_found_again(tmp_path: Path, server: StandInBatches, hook: str) -> None:
    """Also one that the server has made and whose id never arrived, among those of others."""
    for _ in range(3):
        server.batches[f"other_{len(server.batches)}"] = {
            **server._batch("other", {"endpoint": "", "input_file_id": "", "completion_window": "24h"}),
            "id": f"other_{len(server.batches)}",
        }

    def die() -> None:
        setattr(server, hook, lambda: None)
        raise Died

    setattr(server, hook, die)
    with pytest.raises(TeacherFailed, match=r"HTTP 500|cannot be reached"):
        await ask(tmp_path)
    assert [bool(call.batch_id) for call in reopened(tmp_path).batches] == [hook == "before_poll"]
    journal = await ask(tmp_path)
    assert len(journal.labels) == len(QUESTIONS)
    assert len(server.requests) == 1
    assert journal.spent == journal.paid


async def test_a_batch_that_never_was_made_is_made_again(tmp_path: Path, server: StandInBatches) -> None:
    def die() -> None:
        server.before_create = lambda: None
        raise Died

    server.before_create = die
    with pytest.raises(TeacherFailed):
        await ask(tmp_path)
    assert reopened(tmp_path).spent > 0
    journal = await ask(tmp_path)
    assert len(server.requests) == 1
    assert journal.spent == journal.paid


async def test_results_read_in_part_are_read_to_the_end(tmp_path: Path, server: StandInBatches) -> None:
    whole = await ask(tmp_path)
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:  # as if the process had died after two results
        database.execute("UPDATE question SET nano_usd = NULL, answer = NULL WHERE rowid > 2")
    database.close()
    assert len(reopened(tmp_path).labels) == 2
    assert await ask(tmp_path) == whole
    assert len(server.batches) == 1


async def test_a_wrong_key_is_not_repeated(
    tmp_path: Path, server: StandInBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    with pytest.raises(TeacherFailed, match="does not accept the key") as caught:
        await ask(tmp_path)
    assert "sk-" not in str(caught.value)
