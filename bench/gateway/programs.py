"""The processes of a benchmark: compiled, pinned to a core, read from /proc, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks a CPU second in /proc."""
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
START_S = 180.0
TIMEOUT_S = 20.0
COMPILER = ("cc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror")


class BenchmarkError(Exception):
    """An error that ends the benchmark without figures."""


class NotInstalled(BenchmarkError):
    """A program of the benchmark is missing."""


class DidNotStart(BenchmarkError):
    """A process of the benchmark ended, or did not answer in time. The first line names it; the log's end follows."""


def compiled(name: str, folder: Path) -> Path:
    """Compile NAME.c in this directory; return the program."""
    made = folder / name
    subprocess.run([*COMPILER, "-o", str(made), str(HERE / f"{name}.c")], check=True)
    return made


class Process:
    """A program on dedicated cores, with its child processes."""

    def __init__(self, command: Sequence[str], cores: Sequence[int], log: Path, **environment: str) -> None:
        self.name = log.stem
        self.log = log
        with log.open("wb") as words:
            self._popen = subprocess.Popen(
                ["taskset", "--cpu-list", ",".join(map(str, cores)), *command],
                stdout=subprocess.PIPE if log.suffix == ".err" else words,
                stderr=words,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def first_line(self) -> str:
        """Return the first line of the program's output, if its log is for errors only (NAME.err)."""
        line = self._popen.stdout.readline() if self._popen.stdout else b""
        return line.decode().strip() or self._fail()

    def wait_for(self, url: str) -> None:
        """Wait until the address answers with 2xx."""

        def answers() -> bool:
            with suppress(OSError), urlopen(url, timeout=5):  # noqa: S310 - ours, on loopback
                return True
            return False

        self._wait(answers)

    def wait_for_port(self, port: int) -> None:
        """Wait until a program listens on the port."""
        self._wait(lambda: listens(port))

    def cpu_s(self) -> float:
        """Return the CPU seconds of the program and its descendants, reaped ones included."""
        return sum(map(_cpu_s, self._family()))

    def memory_mb(self) -> float:
        """Return the resident memory of the program and its descendants, in MB of 10^6 bytes."""
        return sum(map(_memory_mb, self._family()))

    def stop(self) -> None:
        """Terminate the program and its descendants, and kill them after a timeout."""
        self._popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        if self._popen.stdout:
            self._popen.stdout.close()

    def _family(self) -> list[int]:
        return [self.pid, *_descendants(self.pid)]

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            if self._popen.poll() is not None or time.monotonic() > deadline:
                self._fail()
            time.sleep(0.1)

    def _fail(self) -> str:
        end = self.log.read_text(errors="replace")[-2000:]
        raise DidNotStart(f"{self.name} did not start; its log is {self.log}\n{end}")


@contextmanager
def running(
    command: Sequence[str], cores: Sequence[int], log: Path, environment: Mapping[str, str]
) -> Iterator[Process]:
    """Start a program, and stop it on exit."""
    process = Process(command, cores, log, **environment)
    try:
        yield process
    finally:
        process.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def machine_busy_s() -> float:
    """Return the busy CPU seconds of all cores since boot."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started and that still run."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _descendants(pid: int) -> Iterator[int]:
    for child in children(pid):
        yield child
        yield from _descendants(child)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name; empty if the process has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _cpu_s(pid: int) -> float:
    return sum(map(int, _stat(pid)[11:15])) / TICKS


def _memory_mb(pid: int) -> float:
    return sum(map(int, _stat(pid)[21:22])) * PAGE_MB
