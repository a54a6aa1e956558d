"""The writer where its database fails: nothing waits in best-effort mode, nothing is answered in required mode."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.decision_log import queue, writer
from app.decision_log.database import FILE
from app.decision_log.queries import Selection
from app.errors import DecisionLogUnavailable
from app.settings.decision_log import DecisionLogSettings
from tests.decision_log.conftest import answer, answers, opened, principal
from tests.decision_log.test_log import ids, until_available
from tests.waiting import until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.05)


@contextmanager
def limited_to(pages: int) -> Iterator[Callable[[], None]]:
    """Limit the size of SQLite's files, as a full disk does; yield a function that ends the limit."""
    limit = pages

    def apply(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit}")

    def end() -> None:
        nonlocal limit
        limit = 2**30

    event.listen(Engine, "checkout", apply)
    try:
        yield end
    finally:
        event.remove(Engine, "checkout", apply)


def settings(folder: Path, mode: str = "best-effort") -> DecisionLogSettings:
    return DecisionLogSettings.model_validate({"store_dir": folder, "decision_log": mode})


async def test_a_full_database_keeps_the_queue_and_logs_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = answers(200, analysis="x" * 2000)
    with limited_to(40) as end:
        async with opened(settings(tmp_path)) as log:
            for each in made:
                await log.log.record(each, principal())
            await until(lambda: log.log.problem)
            await asyncio.sleep(0.3)
            log.log.require()
            assert await ids(log) == []  # a read needs no room
            end()
            await until(lambda: log.log.problem is None)
            assert set(await ids(log, 500)) == {each.id for each in made}
    assert (log.count("stored"), log.count("dropped")) == (200, 0)
    assert [each.message for each in caplog.records if each.name == writer.__name__] == [
        "the decision log takes no entries: OperationalError: database or disk is full",
        "the decision log takes entries again",
    ]


async def test_answers_that_find_the_queue_full_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue, "CAPACITY", 10)
    monkeypatch.setattr(writer, "TIMEOUT_S", 0.3)
    with limited_to(1):
        async with opened(settings(tmp_path)) as log:
            await until(lambda: log.log.problem)
            for each in answers(25):
                await log.log.record(each, principal())
            assert log.count("dropped") == 15
    assert (log.count("stored"), log.count("dropped")) == (0, 25)
    said = [each.message for each in caplog.records if each.name == writer.__name__]
    assert sum("drops entries" in line for line in said) == 1
    assert sum("lost 10 entries" in line for line in said) == 1


async def test_a_required_entry_that_cannot_be_stored_is_refused_before_the_next_question(tmp_path: Path) -> None:
    with limited_to(40) as end:
        async with opened(settings(tmp_path, "required")) as log:
            await until_available(log)
            with pytest.raises(DecisionLogUnavailable):
                await log.log.record(answer(analysis="x" * 1_000_000), principal())
            with pytest.raises(DecisionLogUnavailable) as refused:
                log.log.require()
            assert str(tmp_path) not in refused.value.detail
            assert refused.value.headers()["Retry-After"] == "1"
            end()
            await until_available(log)
            log.log.require()
            await log.log.record(made := answer(), principal())
            assert await ids(log) == [made.id]


async def test_a_full_disk_is_noticed_before_the_first_answer(tmp_path: Path) -> None:
    with limited_to(1):
        async with opened(settings(tmp_path, "required")) as log:
            await asyncio.sleep(0.2)
            with pytest.raises(DecisionLogUnavailable):
                log.log.require()


async def test_a_database_that_hangs_refuses_required_entries_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TIMEOUT_S", 0.3)
    for mode in ("best-effort", "required"):
        async with opened(settings(tmp_path, mode)) as log:
            await until(lambda log=log: log.log.problem is None and (tmp_path / FILE).exists())
            await log.log.page(Selection(), None, 1)
            with sqlite3.connect(tmp_path / FILE) as other:
                other.execute("BEGIN IMMEDIATE")
                recording = log.log.record(answer(), principal())
                if mode == "best-effort":
                    await asyncio.wait_for(recording, 0.2)
                else:
                    with pytest.raises(DecisionLogUnavailable):
                        await recording
                    with pytest.raises(DecisionLogUnavailable):
                        log.log.require()
            await until(lambda log=log: log.count("stored") == 1)
            assert log.log.problem is None


async def test_content_that_the_database_rejects_is_dropped_and_the_rest_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rejecting(given: Any, who: Any) -> Any:
        if given.ticker == "WRONG":
            raise ValueError("no row")
        return written(given, who)

    written = writer.row
    monkeypatch.setattr(writer, "row", rejecting)
    async with opened(settings(tmp_path)) as log:
        await log.log.record(answer(ticker="WRONG"), principal())
        await until(lambda: log.count("dropped") == 1)
        await log.log.record(good := answer(), principal())
        await until(lambda: log.count("stored") == 1)
        assert await ids(log) == [good.id]


async def test_the_queue_costs_a_request_no_thread(tmp_path: Path) -> None:
    """In best-effort mode the write starts after the answer."""
    async with opened(settings(tmp_path)) as log:
        await log.log.page(Selection(), None, 1)
        await log.log.record(answer(), principal())
        await asyncio.sleep(0)
        assert log.count("stored") == 0
        await until(lambda: log.count("stored") == 1)


async def test_the_file_is_private(tmp_path: Path) -> None:
    async with opened(settings(tmp_path)) as log:
        await log.log.record(answer(), principal())
        await ids(log)
        modes = {entry.name: entry.stat().st_mode & 0o077 for entry in os.scandir(tmp_path)}
    assert modes == dict.fromkeys((FILE, f"{FILE}-wal", f"{FILE}-shm"), 0)
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
