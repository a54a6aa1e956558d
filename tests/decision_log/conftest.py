"""Decision logs on SQLite and on a PostgreSQL server, and answers to record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest

from app.api.examples import RECORDED
from app.auth.principal import Principal
from app.decision_log.database import open_engine
from app.decision_log.log import DecisionLog, open_decision_log
from app.decision_log.tables import METADATA
from app.pricing.limits import Limits
from app.recommendation import RECOMMENDATION, Recommendation
from app.settings.decision_log import DecisionLogSettings
from app.telemetry.metrics import Collectors
from tests.postgres import PROGRAMS, Postgres, needs_postgresql

_RECORDED = RECORDED["POST /v1/recommendations"]["200"]["application/json"]["full"]["value"]
EXAMPLE = RECOMMENDATION.validate_python(_RECORDED)


def answer(**changes: Any) -> Recommendation:
    """Return an answer with its own id, created now."""
    own: dict[str, Any] = {"id": f"rec_{uuid4().hex}", "created_at": datetime.now(UTC)}
    return replace(EXAMPLE, **(own | changes))


def answers(count: int, **changes: Any) -> list[Recommendation]:
    """Return answers a second apart, the newest last."""
    first = datetime.now(UTC) - timedelta(seconds=count)
    return [answer(created_at=first + timedelta(seconds=number), **changes) for number in range(count)]


def principal(name: str = "ann") -> Principal:
    return Principal(f"id-of-{name}", name, None, False, Limits())


@dataclass(frozen=True)
class Opened:
    """An open log, and the counters of its gateway."""

    log: DecisionLog
    collectors: Collectors

    def count(self, result: str) -> float:
        value = self.collectors.registry.get_sample_value("conviction_decision_log_entries_total", {"result": result})
        assert value is not None
        return value


@asynccontextmanager
async def opened(settings: DecisionLogSettings) -> AsyncIterator[Opened]:
    collectors = Collectors()
    async with open_decision_log(settings, collectors) as log:
        yield Opened(log, collectors)


Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with TemporaryDirectory(prefix="conviction-postgres-") as folder, Postgres(Path(folder)) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings that name an empty database."""
    if request.param == "sqlite":
        return {"store_dir": tmp_path / "store"}
    assert PROGRAMS
    server: Postgres = request.getfixturevalue("postgres")
    settings = {"decision_log_url": server.url}
    engine = open_engine(DecisionLogSettings.model_validate(settings), None)
    assert engine is not None
    METADATA.drop_all(engine)
    engine.dispose()
    return settings


@pytest.fixture
def open_log(place: dict[str, Any]) -> Open:
    """Return a function that opens a log on the database, as a gateway does."""
    return lambda **more: opened(DecisionLogSettings.model_validate(place | more))
