"""Waiting for a call that another request makes, in this gateway or another.

A call's result is published on a channel and kept in its reservation for two minutes. A follower reads the
reservation before it waits and after each resubscription, so a message that was missed loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.errors import StoreUnavailable
from app.stores.connection import TIMEOUT_S
from app.stores.pipelined import RECONNECT_S, Pipelined
from app.stores.redis_protocol import RedisProtocol, connect
from app.stores.scripts import ADMISSION, Script

FOLLOW = Script(*ADMISSION, "follow")
FOLLOWERS = Script(*ADMISSION, "count_followers")

CHANNEL = "conviction:landed"
RECHECK_S = 5.0
"""The longest wait between reads of the reservation; a follower's entry expires after three times as long."""
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class CallResult:
    """What followers of a call get: its value, cached for `ttl_s`, or the code of its error.

    With neither, the call ended without a result, and one of its followers makes it again.
    """

    value: bytes | None = None
    ttl_s: float = 0.0
    error: str | None = None
    retry_after: float | None = None
    """Seconds after which a failed call can be retried, if known."""

    def arguments(self) -> tuple[str, bytes | str, int]:
        """Return the scripts' arguments: outcome, payload, milliseconds in the cache."""
        if self.value is not None:
            return "value", self.value, int(1000 * self.ttl_s)
        if self.error is None:
            return "over", "", 0
        return "error", self.error if self.retry_after is None else f"{self.error} {self.retry_after:g}", 0

    @classmethod
    def read(cls, outcome: bytes, payload: bytes) -> CallResult:
        """Parse the outcome and payload that a script returned."""
        if outcome == b"value":
            return cls(payload)
        if outcome != b"error":
            return NO_RESULT
        error, _, seconds = payload.decode().partition(" ")
        return cls(error=error, retry_after=float(seconds) if seconds else None)


NO_RESULT = CallResult()


class SharedCalls:
    """Follows calls over one subscription, which starts with the first call that is followed."""

    def __init__(self, redis: Redis, store: Pipelined, timeout_s: float = TIMEOUT_S) -> None:
        self._redis = redis
        self._store = store
        self._timeout_s = timeout_s
        self._subscription: asyncio.Task[None] | None = None
        self._waiters: dict[str, set[asyncio.Future[CallResult | None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def follow(self, leader: str, request_id: str) -> CallResult:
        """Wait, without a timeout, for the call's result; `NO_RESULT` if the leader's lease ended.

        Raises `StoreUnavailable`. A cancelled caller is removed from the call's followers.
        """
        if self._subscription is None or self._subscription.done():
            self._subscription = asyncio.create_task(self._subscribe())
        try:
            while True:
                result = await self._read_or_wait(leader, request_id)
                if result is not None:
                    return result
        except BaseException:
            leaving = asyncio.create_task(self.leave(leader, request_id))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise

    async def followers(self, leader: str) -> int:
        """Return how many requests follow a call through the store."""
        return int(await self._store.run(FOLLOWERS, leader))

    async def wait_unfollowed(self, leader: str) -> None:
        """Return up to `POLL_S` after the last follower left."""
        while await self.followers(leader):  # noqa: ASYNC110 - followers are in other processes
            await asyncio.sleep(POLL_S)

    async def leave(self, leader: str, request_id: str) -> None:
        """Remove a request from a call's followers."""
        try:
            await self._store.call("ZREM", f"conviction:followers:{leader}", request_id)
        except StoreUnavailable:
            return  # the entry expires

    async def close(self) -> None:
        """Unsubscribe, and finish removing followers that left."""
        if self._subscription is not None:
            self._subscription.cancel()
            await asyncio.wait((self._subscription,))
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _read_or_wait(self, leader: str, request_id: str) -> CallResult | None:
        """Return the call's result, or None when it is time to read again."""
        waiter: asyncio.Future[CallResult | None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(leader, set()).add(waiter)
        try:
            outcome, payload = await self._store.run(FOLLOW, leader, request_id)
            if outcome != b"alive":
                return CallResult.read(outcome, payload)
            await asyncio.wait((waiter,), timeout=min(RECHECK_S, payload / 1e6))
            return waiter.result() if waiter.done() else None
        finally:
            waiters = self._waiters[leader]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[leader]

    async def _subscribe(self) -> None:
        while True:
            try:
                writer = await connect(self._redis, self._timeout_s)
            except StoreUnavailable:
                await asyncio.sleep(RECONNECT_S)
                continue
            subscriber = _Subscriber(writer, self._timeout_s, self._receive)
            try:
                subscriber.write("SUBSCRIBE", CHANNEL)
                await subscriber.disconnected.wait()
            finally:
                subscriber.disconnect()

    def _receive(self, message: Any) -> None:
        match message:
            case [b"subscribe", *_]:
                for waiters in self._waiters.values():
                    _resolve(waiters, None)
            case [b"message", _, text]:
                leader, outcome, payload = text.split(b"\n", 2)
                _resolve(self._waiters.get(leader.decode(), ()), CallResult.read(outcome, payload))


class _Subscriber(RedisProtocol):
    """A connection that receives messages."""

    def __init__(self, writer: asyncio.StreamWriter, timeout_s: float, receive: Callable[[Any], None]) -> None:
        super().__init__(writer, timeout_s)
        self.disconnected = asyncio.Event()
        self._receive = receive

    def reply_received(self, reply: Any) -> None:
        self._receive(reply)

    def disconnect(self, error: Exception | None = None) -> None:
        super().disconnect(error)
        self.disconnected.set()


def _resolve(waiters: Iterable[asyncio.Future[CallResult | None]], result: CallResult | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(result)
