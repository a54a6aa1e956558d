"""`make serve` in a clone: started, its lines read with the time at which each arrives, and stopped."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep

from bench.fresh.checkout import Checkout
from bench.gateway.programs import children, free_port

READY = "Conviction is ready at "
TIMEOUT_S = 1800.0
STOPPING_S = 60.0
POLL_S = 0.1
LAST_LINES = 20


class ServeFailed(Exception):
    """`make serve` ended, hung or stopped with the wrong status; the message holds its last lines."""


@dataclass(frozen=True)
class Line:
    """A line that `make serve` printed, and how many seconds after its start."""

    at: float
    text: str


class Serving:
    """A running `make serve`."""

    def __init__(self, checkout: Checkout) -> None:
        self.lines: list[Line] = []
        self.url = ""
        self._started = monotonic()
        self._port = free_port()
        self._arriving: queue.Queue[str | None] = queue.Queue()
        self._make = subprocess.Popen(
            ["make", "serve", f"PORT={self._port}"],
            cwd=checkout.folder,
            env=dict(checkout.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Read lines until the one that names the address."""
        while not self.url:
            try:
                text = self._arriving.get(timeout=max(0.0, self._started + TIMEOUT_S - monotonic()))
            except queue.Empty:
                raise self._failed(f"make serve was not ready after {TIMEOUT_S:.0f} s") from None
            if text is None:
                raise self._failed(f"make serve ended with status {self._status(STOPPING_S)} before it was ready")
            self.lines.append(Line(monotonic() - self._started, text))
            print(f"{self.lines[-1].at:7.1f} s  {text}", flush=True)
            if text.startswith(READY):
                self.url = text.removeprefix(READY).split()[0]

    def interrupt(self) -> None:
        """Stop it by SIGINT; raise `ServeFailed` unless it then ends with status 0.

        The signal goes to `conviction up` alone: make, which a terminal's Ctrl-C also reaches, ends by the signal.
        """
        for pid in children(self._make.pid):
            os.kill(pid, signal.SIGINT)
        status = self._status(STOPPING_S)
        if status is None:
            raise self._failed(f"make serve did not stop within {STOPPING_S:.0f} s of SIGINT")
        if status != 0:
            raise self._failed(f"make serve ended with status {status} after SIGINT")

    def end(self) -> None:
        """Leave no process behind, whatever state it is in."""
        if self._status() is None:
            os.killpg(self._make.pid, signal.SIGTERM)
            self._status(STOPPING_S)
        os.killpg(self._make.pid, signal.SIGKILL)  # make is not reaped yet: the group's number is still its own
        self._make.wait()
        self._reader.join(STOPPING_S)

    def _status(self, timeout_s: float = 0.0) -> int | None:
        """Return make's exit status, negative for a signal, without reaping it; None where it runs for longer."""
        deadline = monotonic() + timeout_s
        while (ended := os.waitid(os.P_PID, self._make.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is None:
            if monotonic() >= deadline:
                return None
            sleep(POLL_S)
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _read(self) -> None:
        assert self._make.stdout
        with self._make.stdout:
            for text in self._make.stdout:
                self._arriving.put(text.rstrip())
        self._arriving.put(None)

    def _failed(self, why: str) -> ServeFailed:
        while not self._arriving.empty():
            self.lines.append(Line(monotonic() - self._started, self._arriving.get() or ""))
        last = "\n".join(f"    {line.text}" for line in self.lines[-LAST_LINES:])
        return ServeFailed(f"{why}; its last lines:\n{last}")


@contextmanager
def serving(checkout: Checkout) -> Iterator[Serving]:
    """Run `make serve` while inside, ready to be asked."""
    running = Serving(checkout)
    try:
        running.wait_until_ready()
        yield running
        running.interrupt()
    finally:
        running.end()
