"""A PostgreSQL server of Debian's package, which tests can kill and restart with its data."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import psycopg
import pytest

START_S = 60.0
USER = "postgres"


def programs() -> Path | None:
    """Return the folder of the server's programs, which Debian's package leaves out of PATH; None without them."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


PROGRAMS = programs()
needs_postgresql = pytest.mark.skipif(
    PROGRAMS is None, reason="PostgreSQL is not installed (Debian: apt-get install --no-install-recommends postgresql)"
)


class Postgres:
    """A restartable server with a fixed folder, which listens on a socket in it."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAMS is not None
        self._programs, self._folder, self._data = PROGRAMS, folder, folder / "data"
        self._user = USER if os.geteuid() == 0 else None  # it refuses to run as root
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self._folder}"

    def __enter__(self) -> Self:
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        options = ["--auth", "trust", "--username", USER, "--encoding", "UTF8", "--no-sync", "--no-instructions"]
        self._run("initdb", "--pgdata", str(self._data), *options).wait(START_S)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and return once it answers; the children of a server that was killed must have ended before."""
        ends = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < ends, (self._folder / "log").read_text()
            if self._process is None or self._process.poll() is not None:
                place = ["-D", str(self._data), "-k", str(self._folder), "-c", "listen_addresses="]
                self._process = self._run("postgres", *place, "-c", "fsync=off", "-c", "shared_buffers=1MB")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server; its children notice that and end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            command = [str(self._programs / program), *arguments]
            return subprocess.Popen(command, user=self._user, cwd="/", stdout=log, stderr=log)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False
