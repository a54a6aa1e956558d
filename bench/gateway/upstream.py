"""The upstream, as a running process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from bench.gateway.programs import HERE, Process, running
from bench.gateway.upstream_server import Counts


@dataclass(frozen=True)
class Upstream:
    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def counts(self, since: Counts | None = None) -> Counts:
        """Return the chat completions since the start, or since earlier counts."""
        with urlopen(f"{self.url}/stats", timeout=10) as answer:  # noqa: S310 - ours, on loopback
            now = json.load(answer)
        before = since or Counts()
        return Counts(
            now["requests"] - before.requests,
            now["invalid"] - before.invalid,
            now["aborted"] - before.aborted,
            now["answered"] - before.answered,
            now["reason"],
        )

    def pace(self, first_ms: float, gap_ms: float) -> None:
        """Set the milliseconds to the first event (or a whole answer), and between events."""
        order = f"{self.url}/pace?first_ms={first_ms}&gap_ms={gap_ms}"
        urlopen(Request(order, b"", method="POST"), timeout=10).close()  # noqa: S310


@contextmanager
def upstream(script: Path, cores: Sequence[int]) -> Iterator[Upstream]:
    """Start an upstream with the answers in `script`."""
    command = [sys.executable, str(HERE / "upstream_server.py"), str(script)]
    with running(command, cores, script.with_suffix(".err"), {}) as process:
        yield Upstream(process, int(process.first_line()))
