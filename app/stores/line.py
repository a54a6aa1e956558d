"""A connection to Redis of its own: what is asked goes out at once, and replies come back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from app.errors import StoreUnavailable
from app.stores.resp import Replies


class Line(asyncio.Protocol):
    """A connection, and the calls whose replies are still to come, the first first."""

    def __init__(self, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self.down = False
        self._writer = writer
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._replies = Replies()
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        writer.transport.set_protocol(self)

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """Send a packed command; what comes of it."""
        reply = self._loop.create_future()
        self._asked.append((reply, self._loop.time()))
        self._writer.write(command)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look, None)
        return reply

    def hear(self, reply: Any) -> None:
        """Give the oldest call its reply."""
        future, _ = self._asked.popleft()
        if future.done():
            return
        if isinstance(reply, ResponseError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def disconnect(self, error: Exception | None = None) -> None:
        """Close the connection; whoever waits is told that the store is away."""
        if self.down:
            return
        self.down = True
        self._writer.transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        for future, _ in self._asked:
            if not future.done():
                away = StoreUnavailable("Redis does not answer")
                away.__cause__ = error
                future.set_exception(away)
        self._asked.clear()

    def data_received(self, data: bytes) -> None:
        try:
            for reply in self._replies.feed(data):
                self.hear(reply)
        except RedisError as error:
            self.disconnect(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnect(exc or ConnectionError("Redis closed the connection"))

    def _look(self, suspect: asyncio.Future[Any] | None) -> None:
        """Give the connection up where the oldest call has waited too long at two looks in a row.

        Two, since a process that stood still has its time-out before it has the reply.
        """
        self._watch = None
        if not self._asked:
            return
        oldest, since = self._asked[0]
        left = since + self._timeout_s - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look, None)
        elif oldest is not suspect:
            self._watch = self._loop.call_later(self._timeout_s / 5, self._look, oldest)
        else:
            self.disconnect(TimeoutError("Redis does not answer"))


async def connect(redis: Redis, timeout_s: float) -> asyncio.StreamWriter:
    """A connection of its own to the Redis of a client, by its address, password and TLS, as yet without a reader."""
    pool = redis.connection_pool
    # One time-out for all of it and none of the client's own, whose waits may swallow a cancellation on Python 3.11.
    unhurried = {"socket_timeout": None, "socket_connect_timeout": None}
    connection = pool.connection_class(**{**pool.connection_kwargs, **unhurried})
    try:
        async with asyncio.timeout(timeout_s):
            await connection.connect()  # type: ignore[no-untyped-call]
        writer, connection._writer = connection._writer, None  # from here on it is not the client's to close
        assert writer is not None
        return writer
    except (RedisError, OSError) as error:  # a time-out is an OSError
        raise StoreUnavailable("Redis cannot be reached") from error
    finally:
        connection._close()  # type: ignore[no-untyped-call]
