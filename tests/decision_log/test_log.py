"""The decision log on both databases: what is recorded is found by those who may, in pages, until it expires."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.decision_log.database import FILE
from app.decision_log.queries import Position, Selection
from app.decision_log.tables import microseconds
from app.errors import Conflict
from app.recommendation import RECOMMENDATION, Recommendation
from app.settings.decision_log import DecisionLogSettings
from tests.decision_log.conftest import Open, Opened, answer, answers, opened, principal


async def ids(log: Opened, limit: int = 100, **selection: Any) -> list[str]:
    return [each.id for each in await log.log.page(Selection(**selection), None, limit)]


async def test_an_answer_is_found_as_it_was_sent(open_log: Open) -> None:
    sent = answer(analysis="a\x00b \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), source="cache")
    async with open_log() as log:
        await log.log.record(sent, principal())
        found = await log.log.find(sent.id, None)
    assert found is not None
    assert found.recommendation == RECOMMENDATION.dump_json(sent).decode()
    assert (found.principal_id, found.principal_name, found.source) == ("id-of-ann", "ann", "cache")
    assert found.at == microseconds(sent.created_at)


async def test_a_principal_finds_no_other_s(open_log: Open) -> None:
    ann, bob = answer(), answer()
    async with open_log() as log:
        await log.log.record(ann, principal("ann"))
        await log.log.record(bob, principal("bob"))
        assert await log.log.find(ann.id, "id-of-ann")
        assert await log.log.find(bob.id, "id-of-ann") is None
        assert await log.log.find("rec_" + "0" * 32, None) is None
        assert await ids(log, principal_id="id-of-ann") == [ann.id]
        assert set(await ids(log)) == {ann.id, bob.id}


async def test_pages_hold_what_a_query_selects_the_newest_first(open_log: Open) -> None:
    forms: list[dict[str, Any]] = [
        {"ticker": ticker, "backend": backend, "action": action}
        for ticker in ("AAPL", None)
        for backend in ("mistral", "gpt-4")
        for action in ("buy", "hold")
    ]
    start = datetime.now(UTC) - timedelta(hours=1)
    # Several of one time: their ids decide their order.
    made = [answer(created_at=start + timedelta(seconds=n // 3), **forms[n % len(forms)]) for n in range(40)]
    newest_first = sorted(made, key=lambda each: (each.created_at, each.id), reverse=True)
    second = microseconds(start + timedelta(seconds=1))

    def matches(each: Recommendation, selection: dict[str, Any]) -> bool:
        at = microseconds(each.created_at)
        in_time = selection.get("start", at) <= at < selection.get("end", at + 1)
        return in_time and all(getattr(each, name) == selection[name] for name in selection.keys() & forms[0].keys())

    async with open_log() as log:
        for each in made:
            await log.log.record(each, principal())
        for selection in (
            {},
            {"ticker": "AAPL"},
            {"backend": "gpt-4", "action": "hold"},
            {"start": second},
            {"start": second, "end": second + 3_000_000, "ticker": "AAPL"},
            {"end": second},
            {"ticker": "MSFT"},
        ):
            found: list[str] = []
            before = None
            while page := await log.log.page(Selection(**selection), before, 4):
                found += [each.id for each in page]
                before = Position(page[-1].at, page[-1].id)
            assert found == [each.id for each in newest_first if matches(each, selection)], selection


async def test_gateways_share_a_database(open_log: Open) -> None:
    async with open_log() as one, open_log() as other:
        mine, theirs = answers(300), answers(300)
        for pair in zip(mine, theirs, strict=True):
            for log, each in zip((one, other), pair, strict=True):
                await log.log.record(each, principal())
        await asyncio.gather(ids(one), ids(other))
        assert set(await ids(one, 1000)) == {each.id for each in (*mine, *theirs)}
        assert (one.count("stored"), other.count("stored")) == (300, 300)
        assert (one.count("dropped"), other.count("dropped")) == (0, 0)


async def test_what_is_queued_is_stored_when_the_gateway_stops(open_log: Open) -> None:
    made = answers(1000)
    async with open_log() as log:
        for each in made:
            await log.log.record(each, principal())
    assert log.count("stored") == 1000
    async with open_log() as log:
        assert set(await ids(log, 2000)) == {each.id for each in made}


async def test_expired_entries_are_deleted(open_log: Open) -> None:
    now = datetime.now(UTC)
    old, kept = [[answer(created_at=now - timedelta(days=days)) for _ in range(3)] for days in (31, 29)]
    async with open_log(decision_log_days=365) as log:
        for each in (*old, *kept):
            await log.log.record(each, principal())
        assert len(await ids(log)) == 6
    async with open_log(decision_log_days=30) as log:
        await log.log.record(new := answer(), principal())
        assert set(await ids(log)) == {new.id, *(each.id for each in kept)}


async def test_an_entry_is_stored_once(open_log: Open) -> None:
    """A transaction whose confirmation was lost is repeated."""
    made = answer()
    async with open_log() as log:
        for _ in range(2):
            await log.log.record(made, principal())
            await log.log.find(made.id, None)
        assert await ids(log) == [made.id]


async def test_a_required_entry_is_stored_when_recorded(open_log: Open) -> None:
    made = answers(20)
    async with open_log(decision_log="required") as log, open_log() as other:
        await until_available(log)
        await asyncio.gather(*(log.log.record(each, principal()) for each in made))
        assert set(await ids(other)) == {each.id for each in made}


async def until_available(log: Opened) -> None:
    async with asyncio.timeout(20):
        while log.log.problem is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def names_under(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


async def test_a_log_beside_a_temporary_store_ends_with_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sent = answer()
    async with opened(DecisionLogSettings()) as log:
        await log.log.record(sent, principal())
        assert await log.log.find(sent.id, None)
        assert FILE in names_under(tmp_path)
    assert not names_under(tmp_path)


@pytest.mark.parametrize("settings", [{"decision_log": "off"}, {"redis_url": "redis://127.0.0.1:1"}])
async def test_a_log_that_is_off_records_nothing_and_says_which_settings_decide(settings: dict[str, Any]) -> None:
    async with opened(DecisionLogSettings.model_validate(settings)) as log:
        log.log.require()
        await log.log.record(answer(), principal())
        with pytest.raises(Conflict, match="CONVICTION_DECISION_LOG"):
            await log.log.find("rec_" + "0" * 32, None)
    assert log.count("stored") == log.count("dropped") == 0


def test_a_stored_answer_has_every_field_of_the_answer() -> None:
    document = json.loads(RECOMMENDATION.dump_json(answer()))
    assert {"metrics", "metrics_source", "prompt_version", "model", "analysis", "probabilities", "cost"} <= set(
        document
    )
