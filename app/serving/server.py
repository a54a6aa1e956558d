"""The uvicorn server: its sockets, its garbage collection settings, and a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.serving.drain import Drain

ACCEPTS_PER_TURN = 16
GC_THRESHOLDS = (20_000, 20, 50)
"""With Python's own thresholds, collections take a sixteenth of a second twice a second under load."""


def bind_sockets(config: uvicorn.Config) -> list[socket.socket]:
    """Bind the configured address and return its socket `ACCEPTS_PER_TURN` times.

    uvloop accepts one connection per socket in a turn of the loop. With one socket, new connections queue in the kernel
    while turns are long, where load shedding cannot refuse them.
    """
    first = config.bind_socket()
    return [first, *(first.dup() for _ in range(ACCEPTS_PER_TURN - 1))]


class Server(uvicorn.Server):
    """A server that accepts requests for `drain_s` after SIGTERM, until load balancers have seen it unready.

    Running requests then have uvicorn's `timeout_graceful_shutdown` to finish. Ctrl-C skips the wait.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do as uvicorn, but do not raise the signal again: a requested shutdown exits with status 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn, and exclude all objects that exist then from garbage collection."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Report the gateway as unready, wait for load balancers, and shut down as uvicorn."""
        self._drain.started = True
        clock = asyncio.get_running_loop().time
        ends = clock() + self._drain_s
        while clock() < ends and signal.SIGINT not in self._captured_signals:  # noqa: ASYNC110 - a signal sets it
            await asyncio.sleep(min(0.05, self._drain_s))
        await super().shutdown(sockets)
