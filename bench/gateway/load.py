"""Run load.c and evaluate its records."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.gateway.programs import BenchmarkError
from bench.gateway.workload import Task

RECORD = np.dtype(
    [
        *((name, "<i8") for name in ("due_ns", "sent_ns", "first_ns", "end_ns")),
        *((name, "<i4") for name in ("status", "verdict", "tokens", "retry_after_s")),
    ]
)
GRACE_S = 30.0
REFUSALS = (429, 503)

Milliseconds = NDArray[np.float64]


class Verdict(IntEnum):
    VALID, REFUSED, WRONG, BROKEN, UNFINISHED = range(5)


class InvalidRound(BenchmarkError):
    """A round with wrong answers: its measurements do not count."""


@dataclass(frozen=True)
class Load:
    """Closed loop at a concurrency, or open loop at `rate` requests a second on at most that many connections."""

    seconds: float
    connections: int
    rate: float | None = None
    requests: int | None = None


@dataclass(frozen=True)
class Sample:
    """The outcomes of one load's requests."""

    records: NDArray[Any]
    seconds: float

    def of(self, verdict: Verdict) -> NDArray[Any]:
        chosen: NDArray[Any] = self.records[self.records["verdict"] == verdict]
        return chosen

    @property
    def refused(self) -> NDArray[Any]:
        """Requests refused with 429 or 503; other errors are failures."""
        refused = self.of(Verdict.REFUSED)
        return refused[np.isin(refused["status"], REFUSALS)]

    @property
    def valid(self) -> int:
        return len(self.of(Verdict.VALID))

    @property
    def throughput(self) -> float:
        """Valid answers a second, without those that ended after the last request was sent."""
        return float(np.count_nonzero(self.of(Verdict.VALID)["end_ns"] <= self.seconds * 1e9)) / self.seconds

    def latency_ms(self, records: NDArray[Any] | None = None) -> Milliseconds:
        """From the time a request was due to the end of its answer; of the valid requests by default."""
        return _since_due(self.of(Verdict.VALID) if records is None else records, "end_ns")

    def first_ms(self) -> Milliseconds:
        """From the time a request was due to the first text of its answer."""
        return _since_due(self.of(Verdict.VALID), "first_ns")

    def tally(self) -> dict[str, int]:
        """Return the count of each verdict, with failures separate from refusals."""
        counts = {verdict.name.lower(): len(self.of(verdict)) for verdict in Verdict}
        return {**counts, "refused": len(self.refused), "failed": counts["refused"] - len(self.refused)}

    def require_all_valid(self) -> None:
        if self.valid == len(self.records) > 0:
            return
        statuses = sorted(set(self.of(Verdict.REFUSED)["status"].tolist()))
        raise InvalidRound(f"of {len(self.records)} answers {self.tally()}, statuses {statuses}")


def _since_due(records: NDArray[Any], name: str) -> Milliseconds:
    since: Milliseconds = (records[name] - records["due_ns"]) / 1e6
    return since


class Generator:
    """Runs loads. Serial numbers are unique across loads."""

    def __init__(self, program: Path, cores: Sequence[int], folder: Path) -> None:
        self._command = ["taskset", "--cpu-list", ",".join(map(str, cores)), str(program)]
        self._records = folder / "records"
        self._asked = 0

    def run(self, port: int, key: str, task: Task, load: Load) -> Sample:
        options: dict[str, object] = {
            **{"-p": port, "-u": task.path, "-b": task.body, "-a": key, "-f": task.field},
            **{"-d": load.seconds, "-c": load.connections, "-g": GRACE_S, "-s": self._asked + 1, "-o": self._records},
            **({"-x": task.expected} if task.expected else {}),
            **({"-h": task.header} if task.header else {}),
            **({"-r": load.rate} if load.rate is not None else {}),
            **({"-n": load.requests} if load.requests is not None else {}),
        }
        flags = ["-e"] if task.events else []
        words = [str(word) for option in options.items() for word in option]
        subprocess.run([*self._command, *words, *flags], check=True)
        records = np.fromfile(self._records, RECORD)
        self._asked += len(records)
        return Sample(records, load.seconds)
