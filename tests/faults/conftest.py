"""One upstream for all tests; stores and gateways per test, which may kill them, or per module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import served
from tests.faults.running import Books, Replica, books_of
from tests.faults.upstream import Upstream
from tests.valkey import Valkey


@dataclass(frozen=True)
class Served:
    """The upstream and its address."""

    upstream: Upstream
    origin: str


class Start:
    """Starts gateways with given settings, within a command if one is given, and returns once they are ready."""

    def __init__(self, folder: Path, upstream: Served, valkey: Valkey) -> None:
        self._folder, self._upstream, self._valkey = folder, upstream, valkey
        self.started: list[Replica] = []

    def __call__(self, within: Sequence[str] = (), **settings: str) -> Replica:
        return self._one(settings, within).wait()

    def unready(self, within: Sequence[str] = (), **settings: str) -> Replica:
        """Start a gateway that does not become ready."""
        return self._one(settings, within)

    def two(self, **settings: str) -> tuple[Replica, Replica]:
        """Start two gateways concurrently."""
        one, other = self._one(settings), self._one(settings)
        return one.wait(), other.wait()

    def _one(self, settings: Mapping[str, str], within: Sequence[str] = ()) -> Replica:
        self.started.append(Replica(self._folder, self._upstream.origin, self._valkey.url, within, **settings))
        return self.started[-1].start()


@pytest.fixture(scope="session")
def upstream_served() -> Iterator[Served]:
    upstream = Upstream()
    with served(upstream.app()) as origin:
        yield Served(upstream, origin)


@pytest.fixture(scope="session")
def upstream(upstream_served: Served) -> Upstream:
    return upstream_served.upstream


@contextmanager
def starting(folder: Path, upstream: Served, valkey: Valkey) -> Iterator[Start]:
    start = Start(folder, upstream, valkey)
    try:
        yield start
    finally:
        for replica in start.started:
            replica.kill()


@pytest.fixture
async def books(valkey: Valkey) -> AsyncIterator[Books]:
    async with books_of(valkey.url) as books:
        yield books


@pytest.fixture
def start(tmp_path: Path, upstream_served: Served, valkey: Valkey) -> Iterator[Start]:
    with starting(tmp_path, upstream_served, valkey) as start:
        yield start


@pytest.fixture(scope="module")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


@pytest.fixture(scope="module")
def replica(
    tmp_path_factory: pytest.TempPathFactory, upstream_served: Served, shared_valkey: Valkey
) -> Iterator[Replica]:
    """A gateway without limits."""
    with starting(tmp_path_factory.mktemp("gateway"), upstream_served, shared_valkey) as start:
        yield start()


@pytest.fixture
async def shared_books(shared_valkey: Valkey) -> AsyncIterator[Books]:
    async with books_of(shared_valkey.url) as books:
        yield books
