"""One connection to Redis that all callers share: commands leave at once, and replies come back in their order.

A client that takes a connection from a pool for each command spends four times the processor time on it, and has to
open dozens of connections at the moment when most is asked of it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.errors import StoreUnavailable
from app.stores.connection import TIMEOUT_S
from app.stores.line import Line, connect
from app.stores.resp import Argument, pack
from app.stores.scripts import Script

PAUSE_S = 0.25
"""After Redis could not be reached, nobody waits for it this long."""

log = logging.getLogger(__name__)


class Pipelined:
    """Commands to the Redis of a client. Nothing is connected before the first."""

    def __init__(self, redis: Redis, timeout_s: float = TIMEOUT_S) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._line: Line | None = None
        self._connecting = asyncio.Lock()
        self._away_until = 0.0

    async def call(self, *command: Argument) -> Any:
        """Redis' reply: bytes, int, None, or a list of such.

        Raises `StoreUnavailable` where it does not come within half a second or so, whether or not the command was
        carried out, and `ResponseError` where Redis refuses.
        """
        line = self._line
        if line is None or line.down:
            line = await self._connect()
        return await line.ask(pack(*command))

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """The reply of a script. Raises `StoreUnavailable`, also for what Redis refuses."""
        try:
            try:
                return await self.call("EVALSHA", script.sha, 0, *arguments)
            except ResponseError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
            await self.call("SCRIPT", "LOAD", script.source)
            return await self.call("EVALSHA", script.sha, 0, *arguments)
        except ResponseError as error:
            log.warning("Redis refused the script %s: %s", script.name, error)
            raise StoreUnavailable("Redis refused to do what it was asked") from error

    async def close(self) -> None:
        """Hang up; whoever still waits is told that the store is away."""
        if self._line is not None:
            self._line.disconnect()

    async def _connect(self) -> Line:
        async with self._connecting:
            if self._line is None or self._line.down:
                loop = asyncio.get_running_loop()
                if loop.time() < self._away_until:
                    raise StoreUnavailable("Redis cannot be reached")
                try:
                    self._line = Line(await connect(self._redis, self._timeout_s), self._timeout_s)
                except StoreUnavailable:
                    self._away_until = loop.time() + PAUSE_S
                    raise
            return self._line
