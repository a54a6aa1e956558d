"""The decision log while its PostgreSQL server is killed and started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import text

from app.decision_log import writer
from app.decision_log.database import open_engine
from app.decision_log.queries import Selection
from app.decision_log.tables import METADATA, create, write
from app.decision_log.threads import in_thread
from app.errors import DecisionLogUnavailable
from app.settings.decision_log import DecisionLogSettings
from tests.decision_log.conftest import answers, opened, principal
from tests.decision_log.test_log import ids, until_available
from tests.doubles import ask, gateway
from tests.postgres import Postgres, needs_postgresql

pytestmark = needs_postgresql


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server that tests kill and leave running."""
    with TemporaryDirectory(prefix="conviction-postgres-") as folder, Postgres(Path(folder)) as server:
        yield server


def settings(server: Postgres, mode: str) -> DecisionLogSettings:
    return DecisionLogSettings.model_validate({"decision_log_url": server.url, "decision_log": mode})


async def test_a_killed_server_loses_no_entry(own_postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    before, meanwhile = answers(100), answers(100)
    async with opened(settings(own_postgres, "best-effort")) as log:
        for each in before:
            await log.log.record(each, principal())
        await log.log.page(Selection(), None, 1)
        own_postgres.kill()
        for each in meanwhile:
            await log.log.record(each, principal())
        with pytest.raises(DecisionLogUnavailable):
            await log.log.page(Selection(), None, 1)
        own_postgres.start()
        await until_available(log)
        assert {each.id for each in (*before, *meanwhile)} <= set(await ids(log, 1000))
    assert (log.count("stored"), log.count("dropped")) == (200, 0)
    said = [each for each in caplog.records if each.name == writer.__name__ and each.levelno == logging.WARNING]
    assert len(said) == 2, "the failure and its end"


async def test_two_gateways_may_create_the_tables_together(own_postgres: Postgres) -> None:
    engine = open_engine(settings(own_postgres, "required"), None)
    assert engine is not None
    METADATA.drop_all(engine)
    with engine.begin() as first:
        METADATA.create_all(first)
        second = in_thread(partial(create, engine))
        while not first.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            assert not second.done()
            await asyncio.sleep(0.01)
    await second
    write(engine, [], 0)
    engine.dispose()


async def test_a_required_entry_survives_the_server_or_its_request_is_refused(own_postgres: Postgres) -> None:
    confirmed: list[str] = []
    refused = 0
    async with opened(settings(own_postgres, "required")) as log:
        await until_available(log)

        async def record(each: Any) -> None:
            nonlocal refused
            try:
                await log.log.record(each, principal())
                confirmed.append(each.id)
            except DecisionLogUnavailable:
                refused += 1

        for number, each in enumerate(answers(60)):
            if number == 30:
                own_postgres.kill()
            await record(each)
        assert len(confirmed) >= 30
        assert refused
        own_postgres.start()
        await until_available(log)
        assert set(confirmed) <= set(await ids(log, 1000))


async def test_requests_are_answered_while_the_server_is_down(own_store: str, own_postgres: Postgres) -> None:
    async with gateway(own_store, decision_log_url=own_postgres.url) as running:
        before = (await ask(running)).json()
        assert (await running.client.get(f"/v1/recommendations/{before['id']}")).json()["recommendation"] == before
        own_postgres.kill()
        meanwhile = await ask(running)
        assert meanwhile.status_code == 200
        unavailable = await running.client.get(f"/v1/recommendations/{before['id']}")
        assert (unavailable.status_code, unavailable.json()["code"]) == (503, "decision_log_unavailable")
        own_postgres.start()
        async with asyncio.timeout(30):
            path = f"/v1/recommendations/{meanwhile.json()['id']}"
            while (response := await running.client.get(path)).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert response.json()["recommendation"] == meanwhile.json()
