"""One connection to Redis: commands are written without waiting, and replies are matched to them in order.

redis-py opens the connection (address, password, database, TLS); hiredis packs commands and parses replies.
`docs/decisions/redis-client.md` compares this with the clients that exist.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from app.errors import StoreUnavailable

Argument = bytes | str | int

WRONG_SERVER = re.compile("(?:^|-)(READONLY|MOVED|ASK|LOADING|CLUSTERDOWN|MASTERDOWN)\\b")
"""Codes of a server that cannot serve requests, while another may answer at the same address: after a failover.

Redis 6 reports a script's error behind its own text, with a hyphen before the code.
"""


def server_fault(reply: Any) -> StoreUnavailable | None:
    """Return the error if the reply shows that the connection leads to a server that cannot serve requests."""
    match = WRONG_SERVER.search(str(reply)) if isinstance(reply, ResponseError) else None
    return StoreUnavailable(f"Redis cannot serve requests ({match[1]})") if match else None


class RedisProtocol(asyncio.Protocol):
    """A connection and the futures of the commands whose replies are outstanding, the oldest first."""

    def __init__(self, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self.closed = False
        self._writer = writer
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(protocolError=RedisError, replyError=ResponseError)
        self._outstanding: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        writer.transport.set_protocol(self)

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Write a command and return the future of its reply: bytes, int, None, or a list of such."""
        future = self._loop.create_future()
        self._outstanding.append((future, self._loop.time()))
        self.write(*command)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._check_oldest, None)
        return future

    def write(self, *command: Argument) -> None:
        """Write a command whose reply is not matched to a future."""
        self._writer.write(hiredis.pack_command(command))  # type: ignore[arg-type] # hiredis types a 1-tuple

    def reply_received(self, reply: Any) -> None:
        """Resolve the oldest outstanding command."""
        future, _ = self._outstanding.popleft()
        if future.done():
            return
        if isinstance(reply, ResponseError):
            future.set_exception(server_fault(reply) or reply)
        else:
            future.set_result(reply)

    def disconnect(self, error: Exception | None = None) -> None:
        """Close the connection and fail the outstanding commands with `StoreUnavailable`."""
        if self.closed:
            return
        self.closed = True
        self._writer.transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        for future, _ in self._outstanding:
            if not future.done():
                unavailable = StoreUnavailable("Redis does not answer")
                unavailable.__cause__ = error
                future.set_exception(unavailable)
        self._outstanding.clear()

    def data_received(self, data: bytes) -> None:
        """Pass the replies on; disconnect if one shows the wrong server, so that the next call reconnects."""
        fault = None
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self.reply_received(reply)
                fault = fault or server_fault(reply)
            if fault is not None:
                self.disconnect(fault)
        except RedisError as error:
            self.disconnect(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnect(exc or ConnectionError("Redis closed the connection"))

    def _check_oldest(self, suspect: asyncio.Future[Any] | None) -> None:
        """Disconnect if the oldest command is overdue at two checks in a row.

        Two, because the timer of a process that was suspended fires before the process reads the replies.
        """
        self._timer = None
        if not self._outstanding:
            return
        oldest, since = self._outstanding[0]
        left = since + self._timeout_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_oldest, None)
        elif oldest is not suspect:
            self._timer = self._loop.call_later(self._timeout_s / 5, self._check_oldest, oldest)
        else:
            self.disconnect(TimeoutError("Redis does not answer"))


async def connect(redis: Redis, timeout_s: float) -> asyncio.StreamWriter:
    """Open a connection with the client's address, password and TLS, outside its pool; nothing reads from it yet.

    Raises `StoreUnavailable`.
    """
    pool = redis.connection_pool
    # One timeout for the whole, and none of redis-py's, whose waits can swallow a cancellation on Python 3.11.
    untimed = {"socket_timeout": None, "socket_connect_timeout": None}
    connection = pool.connection_class(**{**pool.connection_kwargs, **untimed})
    try:
        async with asyncio.timeout(timeout_s):
            await connection.connect()  # type: ignore[no-untyped-call]
        writer, connection._writer = connection._writer, None  # `_close` must not close it
        assert writer is not None
        return writer
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise StoreUnavailable("Redis cannot be reached") from error
    finally:
        connection._close()  # type: ignore[no-untyped-call]
