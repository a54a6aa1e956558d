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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from app.errors import InvalidSettings, StoreUnavailable
from app.stores.valkey_server import FILE, Server

LONGEST_PATH = 100
"""Of a socket; the kernel takes a few bytes more."""
TEND_S = 1.0

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
        with locked(folder) as kept:
            async with _running(Server(kept, keeps=True)) as url:
                yield url


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[str]:
    try:
        await server.start()
        tending = asyncio.create_task(_tend(server))
        try:
            yield f"unix://{server.socket}"
        finally:
            tending.cancel()
            await asyncio.wait((tending,))
    finally:
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


def fits(folder: Path) -> bool:
    """Whether a server's socket can lie in the folder: its path may only be so long."""
    return len(os.fsencode(folder.resolve() / FILE)) <= LONGEST_PATH


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Hold the folder for this process alone; raises `InvalidSettings` as `embedded_server` does."""
    if not fits(folder):
        raise InvalidSettings("CONVICTION_STORE_DIR: the path is longer than a socket's may be")
    folder = folder.resolve()
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
