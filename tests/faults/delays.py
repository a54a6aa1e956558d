"""A proxy in front of the store that holds commands back: they arrive late, and after commands sent after them.

Half of the held commands arrive after the gateway has given their connection up and sent others on another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random

from anyio.from_thread import start_blocking_portal

HELD_S = (0.3, 3.0)
"""The shortest and the longest time; a gateway waits half a second for a reply."""
REPEATED_S = 1.0
SHARE = 0.06
"""Of the reads that are held back."""
PIECE = 1 << 16


class Delays:
    """Forwards the commands of each connection in order, also after the client has closed it."""

    def __init__(self, store: Path, random: Random) -> None:
        self._store, self._random = store, random
        self._share = SHARE
        self.held = self.late = 0
        """Commands that were held back, and of them those whose connection was closed meanwhile."""

    def begin(self) -> None:
        """Hold commands back, as from the start."""
        self._share = SHARE

    async def end(self) -> None:
        """Hold nothing back, and return once what was held has arrived and the gateways have repeated what failed."""
        self._share = 0.0
        await asyncio.sleep(HELD_S[1] + REPEATED_S)

    async def forward(self, client: asyncio.StreamReader, replies: asyncio.StreamWriter) -> None:
        try:
            store, commands = await asyncio.open_unix_connection(self._store)
        except OSError:
            replies.close()
            return
        answering = asyncio.create_task(_copy(store, replies))
        try:
            while piece := await client.read(PIECE):
                if self._random.random() < self._share:
                    self.held += 1
                    await asyncio.sleep(self._random.uniform(*HELD_S))
                    self.late += client.at_eof() or replies.is_closing()
                commands.write(piece)
                await commands.drain()
            commands.write_eof()
            await answering
        except OSError:
            pass
        finally:
            answering.cancel()
            commands.close()
            replies.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(PIECE):
            target.write(piece)
            await target.drain()
    target.close()


@contextmanager
def delaying(folder: Path, store: Path, random: Random) -> Iterator[tuple[Delays, str]]:
    """Run the proxy in a thread; yield it and its URL."""
    delays, address = Delays(store, random), folder / "delayed.sock"
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_served(delays, address)):
        yield delays, f"unix://{address}"


@asynccontextmanager
async def _served(delays: Delays, address: Path) -> AsyncIterator[None]:
    forwarding: set[asyncio.Task[None]] = set()

    def start(client: asyncio.StreamReader, replies: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(delays.forward(client, replies))
        forwarding.add(task)
        task.add_done_callback(forwarding.discard)

    server = await asyncio.start_unix_server(start, address)
    try:
        yield
    finally:
        server.close()
        for task in forwarding:
            task.cancel()
        await asyncio.gather(*forwarding, return_exceptions=True)
        await asyncio.sleep(0.05)  # closed transports end later
