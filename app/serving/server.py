"""The process's server: how it listens, what it does once it has started, and how it stops without losing a request."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.serving.drain import Drain

ACCEPTED_A_TURN = 16
COLLECT = (20_000, 20, 50)
"""New objects before young ones are looked through, and so many times that before older ones are: by Python's own
figures, it stops for a sixteenth of a second twice a second under load."""


def listening(config: uvicorn.Config) -> list[socket.socket]:
    """The socket of the configured address, as many times as connections are to be accepted in one turn of the loop.

    uvloop accepts one of each. With one alone, who comes while turns are long waits where nobody can refuse him.
    """
    first = config.bind_socket()
    return [first, *(first.dup() for _ in range(ACCEPTED_A_TURN - 1))]


class Server(uvicorn.Server):
    """Goes on accepting for `notice_s` after SIGTERM, so that whoever balances loads sees it unready and turns away.

    Requests under way then have uvicorn's `timeout_graceful_shutdown` to finish. Ctrl-C waits for no balancer.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, notice_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._notice_s = notice_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's, which would end the process by the signal once more: having stopped as told is no failure."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's startup. What there is then stays, and is not looked through for garbage any more."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's shutdown, after the notice."""
        self._drain.begun = True
        if signal.SIGINT not in self._captured_signals:
            await self._notice()
        await super().shutdown(sockets)

    async def _notice(self) -> None:
        """Wait; a Ctrl-C in the meantime ends it."""
        clock = asyncio.get_running_loop().time
        ends = clock() + self._notice_s
        while clock() < ends and signal.SIGINT not in self._captured_signals:  # noqa: ASYNC110 - a signal sets it
            await asyncio.sleep(min(0.05, self._notice_s))
