"""An embedded Valkey server, in a persistent folder or in a temporary one.

In a persistent folder the server writes each change to its append-only file before it replies, so killing it loses
nothing that was confirmed. The gateway syncs the file to the disk every second, so a power cut loses about a second.
(`appendfsync everysec` would not do: while its sync runs, Valkey replies before it writes.) The server never evicts:
when its memory is full, it rejects writes. On restart it drops an incomplete record at the end of the file.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from stat import S_IWOTH
from tempfile import TemporaryDirectory

from app.errors import InvalidSettings, StoreUnavailable
from app.stores.valkey_server import DATA, FILE, Server, open_private

MAX_PATH_BYTES = 100
"""Of the socket's path; the kernel accepts a few bytes more."""
SYNC_S = 1.0
SHARED = (
    "CONVICTION_STORE_DIR: every user may write to the folder; name one in it that does not exist, which the gateway "
    "creates for its user alone"
)
NOT_WRITABLE = "CONVICTION_STORE_DIR: the folder is not writable"

log = logging.getLogger(__name__)


@asynccontextmanager
async def embedded_server(folder: Path | None) -> AsyncIterator[str]:
    """Run a server and yield its URL; a server that dies is restarted. Without a folder, its data end with it.

    Raises `InvalidSettings` if the folder cannot be used or another gateway uses it.
    """
    if folder is None:
        with TemporaryDirectory(prefix="conviction-") as temporary:
            async with _running(Server(Path(temporary), persistent=False)) as url:
                yield url
    else:
        with locked(folder) as path:
            async with _running(Server(path, persistent=True)) as url:
                yield url


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[str]:
    try:
        await server.start()
        maintenance = asyncio.create_task(_maintain(server))
        try:
            yield f"unix://{server.socket}"
        finally:
            maintenance.cancel()
            await asyncio.wait((maintenance,))
    finally:
        await server.stop()


async def _maintain(server: Server) -> None:
    """Every `SYNC_S`: restart the server if it died, else sync its file to the disk."""
    while True:
        await asyncio.sleep(SYNC_S)
        try:
            if server.ended:
                log.error("the embedded store died; restarting it")
                await server.start()
            else:
                await asyncio.to_thread(server.sync)
        except (OSError, StoreUnavailable):
            log.exception("the embedded store cannot be restarted or synced")


def fits(folder: Path) -> bool:
    """Return whether the path of a server's socket in the folder is short enough."""
    return len(os.fsencode(folder.resolve() / FILE)) <= MAX_PATH_BYTES


def private_folder(folder: Path) -> Path:
    """Return the resolved folder, created for its user alone if it is missing.

    Raises `InvalidSettings` if it cannot be created, or if every user may write to it.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = folder.stat().st_mode & S_IWOTH
    except OSError:
        raise InvalidSettings(NOT_WRITABLE) from None
    if shared:
        raise InvalidSettings(SHARED)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Lock the folder for this process. Raises `InvalidSettings` as `embedded_server` does.

    The mode of a folder that was there is not changed; what the store keeps in it is readable by its user alone.
    """
    if not fits(folder):
        raise InvalidSettings(f"CONVICTION_STORE_DIR: the socket's path would exceed {MAX_PATH_BYTES} bytes")
    folder = private_folder(folder)
    try:
        lock = open_private(folder / "lock", "w")
    except OSError:
        raise InvalidSettings(NOT_WRITABLE) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidSettings("CONVICTION_STORE_DIR: another gateway uses the folder") from None
        with suppress(FileNotFoundError, PermissionError):
            (folder / DATA).chmod(0o700)  # of an earlier version, or restored from a backup
        yield folder
