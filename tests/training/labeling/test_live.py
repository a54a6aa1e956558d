from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, Timeout

from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from tests.conftest import StandIn
from training.labeling import live
from training.labeling.cap import Cap, CapReached
from training.labeling.connection import TeacherFailed, connect
from training.labeling.journal import Journal
from training.labeling.live import Live
from training.labeling.prompts import Question
from training.labeling.tariff import Tariff

from .conftest import Snapshot, question, snapshot

TARIFF = Tariff.of("gpt-4.1", batch=False)
QUESTIONS = [question(ticker, "full" if ticker == "A" else "brief") for ticker in "ABCDEFGH"]


async def ask(
    path: Path, *, usd_nano: int = 10**9, tries: int = 3, concurrency: int = 3, wanted: Any = QUESTIONS
) -> Snapshot:
    with Journal(path / "journal.sqlite") as journal:
        async with connect() as client:
            await Live(client, Cap(journal, usd_nano), TARIFF, tries, concurrency).ask(wanted)
    return reopened(path)


def reopened(path: Path) -> Snapshot:
    return snapshot(path / "journal.sqlite")


async def test_every_question_is_answered_once(tmp_path: Path, key: str, stand_in: StandIn) -> None:
    before = stand_in.tally()["answered"]
    journal = await ask(tmp_path)
    for one in QUESTIONS:
        expected = canonical(answer(one.prompt.metrics, one.prompt.detail))
        assert journal.labels[one.key].answer == expected
        assert journal.labels[one.key].model == "stand-in/gpt-4.1"
    assert stand_in.tally()["answered"] - before == len(QUESTIONS)
    assert journal.spent == journal.paid == sum(label.nano_usd for label in journal.labels.values()) > 0
    await ask(tmp_path)
    assert stand_in.tally()["answered"] - before == len(QUESTIONS)


@pytest.mark.parametrize("mode", ["429", "500", "503"])
async def test_a_server_that_asks_to_wait_is_asked_again_and_not_paid_twice(
    tmp_path: Path, key: str, stand_in: StandIn, mode: Any
) -> None:
    stand_in.fail(mode, times=4)
    journal = await ask(tmp_path)
    assert len(journal.labels) == len(QUESTIONS)
    assert not journal.failures
    assert journal.spent == journal.paid


@pytest.mark.parametrize(("mode", "reason"), [("refusal", "refusal"), ("length", "length"), ("malformed", "unparsed")])
async def test_what_is_no_answer_is_tried_again_a_few_times(
    tmp_path: Path, key: str, stand_in: StandIn, mode: Any, reason: str
) -> None:
    stand_in.fail(mode, times=2)
    journal = await ask(tmp_path, tries=3, concurrency=1)
    assert [len(journal.failures[name]) for name in journal.failures] == [2]
    assert next(iter(journal.failures.values()))[0].startswith(reason)
    assert len(journal.labels) == len(QUESTIONS)
    assert journal.paid > sum(label.nano_usd for label in journal.labels.values())


async def test_what_fails_too_often_fails_for_good(tmp_path: Path, key: str, stand_in: StandIn) -> None:
    stand_in.fail("refusal", times=2)
    journal = await ask(tmp_path, tries=2, concurrency=1)
    assert QUESTIONS[0].key not in journal.labels
    assert len(journal.labels) == len(QUESTIONS) - 1
    assert len(journal.failures[QUESTIONS[0].key]) == 2


@pytest.mark.parametrize(("mode", "message"), [("quota", "no quota left"), ("401", "does not accept the key")])
async def test_what_no_waiting_helps_against_stops_it_without_the_servers_text(
    tmp_path: Path, key: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, mode: Any, message: str
) -> None:
    if mode == "401":
        key = "sk-wrong-key-0123456789"
        monkeypatch.setenv("OPENAI_API_KEY", key)
    else:
        stand_in.fail(mode, times=1)
    with pytest.raises(TeacherFailed, match=message) as caught:
        await ask(tmp_path, concurrency=1)
    assert key not in str(caught.value)
    assert caught.value.__suppress_context__
    assert key.encode() not in (tmp_path / "journal.sqlite").read_bytes()
    assert not reopened(tmp_path).labels
    assert reopened(tmp_path).spent == 0


async def test_labels_in_flight_are_kept_when_another_call_stops_it(
    tmp_path: Path, key: str, stand_in: StandIn
) -> None:
    stand_in.fail("quota", times=1)
    before = stand_in.tally()["answered"]
    with pytest.raises(TeacherFailed):
        await ask(tmp_path, concurrency=len(QUESTIONS))
    assert len(reopened(tmp_path).labels) == stand_in.tally()["answered"] - before


async def test_a_server_that_cannot_be_reached_fails_for_good(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(live, "MAX_ATTEMPTS", 2)
    with pytest.raises(TeacherFailed, match="cannot be reached"):
        await ask(tmp_path, concurrency=1)
    assert reopened(tmp_path).spent == 0


async def test_an_answer_that_never_came_stays_counted(
    tmp_path: Path, key: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.labeling.connection.TIMEOUT", Timeout(0.2))
    stand_in.fail("timeout", times=1)
    journal = await ask(tmp_path, concurrency=1)
    assert len(journal.labels) == len(QUESTIONS)
    assert journal.open_calls == 1
    assert journal.spent - journal.paid == TARIFF.at_most(QUESTIONS[0].prompt)


async def test_the_cap_stops_it_before_it_is_passed_and_a_higher_one_continues(
    tmp_path: Path, key: str, stand_in: StandIn
) -> None:
    before = stand_in.tally()["answered"]
    wanted = [question(f"T{number}") for number in range(20)]
    at_most = TARIFF.at_most(wanted[-1].prompt)
    cap = 2 * at_most
    with pytest.raises(CapReached, match=r"teacher\.max_usd: .*raise it"):
        await ask(tmp_path, usd_nano=cap, wanted=wanted)
    some = reopened(tmp_path)
    assert 0 < len(some.labels) < len(wanted)
    assert some.spent == some.paid <= cap < some.spent + at_most
    journal = await ask(tmp_path, wanted=wanted)
    assert len(journal.labels) == len(wanted)
    assert stand_in.tally()["answered"] - before == len(wanted)


@pytest.mark.parametrize(("code", "kept"), [("invalid_prompt", "http 400 invalid_prompt"), ("invalid_value", None)])
async def test_a_refused_prompt_is_its_own_failure_and_a_refused_request_stops_all(
    tmp_path: Path, code: str, kept: str | None
) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": "sk-secret", "code": code}})

    http: Any = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
    client = AsyncOpenAI(api_key="sk-secret", base_url="http://double/v1", http_client=http, max_retries=0)
    wanted: list[Question] = QUESTIONS[:1]
    with Journal(tmp_path / "journal.sqlite") as journal:
        teacher = Live(client, Cap(journal, 10**9), TARIFF, 2, 1)
        if kept:
            await teacher.ask(wanted)
            assert journal.failures == {wanted[0].key: [kept] * 2}
        else:
            with pytest.raises(TeacherFailed, match=r"HTTP 400 invalid_value"):
                await teacher.ask(wanted)
            assert not journal.failures
        assert journal.spent == 0
    await client.close()


async def test_a_long_wait_is_refused(tmp_path: Path, key: str, stand_in: StandIn) -> None:
    stand_in.fail("429", times=1, retry_after=5000)
    with pytest.raises(TeacherFailed, match="asks to wait for 5000 s"):
        await ask(tmp_path, concurrency=1)
