"""One connection to Redis shared by all callers, whose commands are pipelined.

Taking a pooled connection for each command costs five times the CPU, and opens dozens of connections under load.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.errors import StoreUnavailable
from app.stores.connection import TIMEOUT_S
from app.stores.redis_protocol import Argument, RedisProtocol, connect
from app.stores.scripts import Script

RECONNECT_S = 0.25
"""After a failed connection attempt, commands fail without another attempt for this long."""

log = logging.getLogger(__name__)


class Pipelined:
    """Sends commands to the client's Redis; connects at the first command."""

    def __init__(self, redis: Redis, timeout_s: float = TIMEOUT_S) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._connection: RedisProtocol | None = None
        self._connecting = asyncio.Lock()
        self._unavailable_until = 0.0

    async def call(self, *command: Argument) -> Any:
        """Return Redis' reply: bytes, int, None, or a list of such.

        Raises `StoreUnavailable` if it does not arrive within the timeout (the command may have been executed), and
        `ResponseError` if Redis rejects the command.
        """
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._connect()
        return await connection.send(*command)

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Return a script's reply. Raises `StoreUnavailable`, also where Redis rejects the script."""
        try:
            try:
                return await self.call("EVALSHA", script.sha, 0, *arguments)
            except ResponseError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
            await self.call("SCRIPT", "LOAD", script.source)
            return await self.call("EVALSHA", script.sha, 0, *arguments)
        except ResponseError as error:
            log.warning("Redis rejected the script %s: %s", script.name, error)
            raise StoreUnavailable("Redis rejected a script") from error

    async def close(self) -> None:
        """Disconnect; outstanding commands fail with `StoreUnavailable`."""
        if self._connection is not None:
            self._connection.disconnect()

    async def _connect(self) -> RedisProtocol:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                loop = asyncio.get_running_loop()
                if loop.time() < self._unavailable_until:
                    raise StoreUnavailable("Redis cannot be reached")
                try:
                    self._connection = RedisProtocol(await connect(self._redis, self._timeout_s), self._timeout_s)
                except StoreUnavailable:
                    self._unavailable_until = loop.time() + RECONNECT_S
                    raise
            return self._connection
