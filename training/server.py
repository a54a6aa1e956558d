"""A server process that runs for the duration of a `with` block."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.stores.parent_death import ending_with_parent

STOPPING_S = 30


class NotServed(ValueError):
    """The server did not start; see its log."""


@contextmanager
def running(
    name: str, command: Sequence[str], environment: Mapping[str, str], ready: str, log: Path, loading_s: float
) -> Iterator[None]:
    """Start a server, wait until the URL `ready` answers 200, and stop it on exit.

    Raises `NotServed`, which calls it `name`, if it ends first or takes longer than `loading_s`.
    """
    with log.open("w") as output:
        child = subprocess.Popen(ending_with_parent(*command), env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(name, child, ready, log, loading_s)
            yield
        finally:
            child.terminate()
            try:
                child.wait(STOPPING_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(name: str, child: subprocess.Popen[bytes], url: str, log: Path, loading_s: float) -> None:
    until = time.monotonic() + loading_s
    while time.monotonic() < until:
        if child.poll() is not None:
            raise NotServed(f"{name} ended with {child.returncode} while loading, see {log}")
        try:
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise NotServed(f"{name} did not answer within {loading_s:.0f} s, see {log}")
