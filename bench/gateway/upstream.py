"""The upstream of upstream.c, as a running process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from bench.gateway.programs import Process, running
from bench.gateway.workload import Script

KEY = "sk-upstream-0123456789abcdef"


@dataclass(frozen=True)
class Counts:
    """Chat completions since the start. `reason` describes the last invalid one."""

    requests: int
    invalid: int
    aborted: int
    answered: int
    reason: str = ""

    def since(self, earlier: Counts) -> Counts:
        return Counts(
            self.requests - earlier.requests,
            self.invalid - earlier.invalid,
            self.aborted - earlier.aborted,
            self.answered - earlier.answered,
            self.reason,
        )


@dataclass(frozen=True)
class Upstream:
    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> Counts:
        with urlopen(f"{self.url}/stats", timeout=10) as answer:  # noqa: S310 - ours, on loopback
            return Counts(**json.load(answer))

    def pace(self, first_ms: float, gap_ms: float) -> None:
        """Set the milliseconds to the first event (or a whole answer), and between events."""
        order = f"{self.url}/pace?first_us={first_ms * 1000:.0f}&gap_us={gap_ms * 1000:.0f}"
        urlopen(Request(order, b"", method="POST"), timeout=10).close()  # noqa: S310


@contextmanager
def upstream(program: Path, script: Script, key: str, cores: Sequence[int], folder: Path) -> Iterator[Upstream]:
    """Start an upstream with the answers in `script`; with the key "-" it needs none."""
    command = [str(program), script.model, key, str(script.content), str(script.answer), str(script.events)]
    with running(command, cores, folder / f"upstream-{script.model}.err", {}) as process:
        yield Upstream(process, int(process.first_line()))
