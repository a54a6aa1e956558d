"""`conviction up` as a child process, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.supervisor.observing import gone

T = TypeVar("T")

COMMAND = [sys.executable, "-m", "app.cli", "up"]
PRICES = {"CONVICTION_HOSTING_USD_PER_HOUR": "0.1", "CONVICTION_CAPACITY_TOKENS_PER_HOUR": "500000"}
"""Prices for a stand-in, where no manifest states them."""


def without_settings() -> dict[str, str]:
    """Return the environment without the tester's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CONVICTION_", "OPENAI_"))}


def environment(run_dir: Path, more: Mapping[str, str]) -> dict[str, str]:
    return {
        **without_settings(),
        "CONVICTION_RUN_DIR": str(run_dir),
        "CONVICTION_PORT": "0",
        "CONVICTION_MARKET": "sample",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


@dataclass
class Answer:
    status: int
    headers: Message
    document: Any


@dataclass
class Up:
    """A running `conviction up`. `seen` is its output so far."""

    popen: subprocess.Popen[bytes]
    output: Path
    run_dir: Path

    @property
    def seen(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        [url] = re.findall(r"Conviction is ready at (\S+) ", self.seen)
        return str(url)

    def bodies(self) -> list[Any]:
        """Return the bodies of the curl commands that it printed."""
        words = shlex.split(self.seen.partition("Conviction is ready")[2])
        return [json.loads(words[index + 1]) for index, word in enumerate(words) if word == "-d"]

    def ask(self, body: Any, **headers: str) -> Answer:
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        return fetch(Request(f"{self.url}/v1/recommendations", json.dumps(body).encode(), given))

    def get(self, path: str) -> str:
        with urlopen(f"{self.url}{path}", timeout=30) as response:
            text: str = response.read().decode()
        return text

    def child(self, word: str) -> int:
        """Return the child process whose command contains the word."""
        return until(lambda: next((pid for pid in children(self.popen.pid) if word in command_of(pid).lower()), 0), 120)

    def descendants(self) -> list[int]:
        return descendants_of(self.popen.pid)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(signal_number)
        return self.popen.wait(60)


@contextmanager
def up(folder: Path, *arguments: str, more: Mapping[str, str], timeout_s: float = 60) -> Iterator[Up]:
    """Yield once it has reported that it is ready; afterwards, require that all its processes have ended."""
    output = folder / "output"
    with output.open("w") as file:
        own = environment(folder / "run", more)
        popen = subprocess.Popen([*COMMAND, *arguments], stdout=file, stderr=subprocess.STDOUT, env=own)
    running = Up(popen, output, folder / "run")
    descendants: list[int] = []
    try:
        until(lambda: "Ctrl-C" in running.seen or popen.poll() is not None, timeout_s)
        assert popen.poll() is None, running.seen
        yield running
        descendants = running.descendants()
    finally:
        if popen.poll() is None:
            running.stop()
    until(lambda: all(map(gone, descendants)), 10)


def fetch(request: Request) -> Answer:
    try:
        with urlopen(request, timeout=120) as response:
            return Answer(response.status, response.headers, json.load(response))
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers, json.load(error))


def until(condition: Callable[[], T], seconds: float) -> T:
    """Poll `condition` and return its first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.05)
    return value


def children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def descendants_of(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants_of(child))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
