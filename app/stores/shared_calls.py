"""Waiting for a call that another request leads, in this gateway or another.

How a call ended is published, and kept for a while for those who ask too late to hear it: who follows looks before
waiting, and again whenever the subscription began anew, so nothing is lost in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.errors import StoreUnavailable
from app.stores.connection import TIMEOUT_S
from app.stores.line import Line, connect
from app.stores.pipelined import PAUSE_S, Pipelined
from app.stores.resp import pack
from app.stores.scripts import BOOKS, Script

FOLLOW = Script(*BOOKS, "follow")
WAITING = Script(*BOOKS, "waiting")

CHANNEL = "conviction:landed"
RECHECK_S = 5.0
"""At most; a third of the time for which interest in a call is kept."""
DESERTED_S = 0.05


@dataclass(frozen=True, slots=True)
class CallResult:
    """What those who follow a call are told: its value, kept in the cache for `ttl_s`; or why it failed.

    With neither, they are told that it is over, and one of them makes the call anew.
    """

    value: bytes | None = None
    ttl_s: float = 0.0
    error: str | None = None
    retry_after: float | None = None
    """Seconds after which another attempt makes sense, where a failure's is known."""

    def arguments(self) -> tuple[str, bytes | str, int]:
        """As the store's scripts take it."""
        if self.value is not None:
            return "value", self.value, int(1000 * self.ttl_s)
        if self.error is None:
            return "over", "", 0
        return "error", self.error if self.retry_after is None else f"{self.error} {self.retry_after:g}", 0

    @classmethod
    def read(cls, outcome: bytes, payload: bytes) -> CallResult:
        """As the store tells it."""
        if outcome == b"value":
            return cls(payload)
        if outcome != b"error":
            return NO_RESULT
        error, _, seconds = payload.decode().partition(" ")
        return cls(error=error, retry_after=float(seconds) if seconds else None)


NO_RESULT = CallResult()


class SharedCalls:
    """Follows calls. One connection listens, from the first call that is followed on."""

    def __init__(self, redis: Redis, store: Pipelined, timeout_s: float = TIMEOUT_S) -> None:
        self._redis = redis
        self._store = store
        self._timeout_s = timeout_s
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[str, set[asyncio.Future[CallResult | None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def follow(self, leader: str, request_id: str) -> CallResult:
        """Wait, without a limit of its own, for the end of the call; a leader that died is one that is over.

        Raises `StoreUnavailable`. A caller that is cancelled leaves, and is no longer waited for.
        """
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        try:
            while True:
                landing = await self._look_and_wait(leader, request_id)
                if landing is not None:
                    return landing
        except BaseException:
            leaving = asyncio.create_task(self.leave(leader, request_id))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise

    async def waiting(self, leader: str) -> int:
        """How many follow a call."""
        return int(await self._store.run(WAITING, leader))

    async def deserted(self, leader: str) -> None:
        """Return once nobody follows a call, a moment after the last left."""
        while await self.waiting(leader):  # noqa: ASYNC110 - what it waits for happens in other processes
            await asyncio.sleep(DESERTED_S)

    async def close(self) -> None:
        """Stop listening, and let those who left be seen off."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _look_and_wait(self, leader: str, request_id: str) -> CallResult | None:
        """How the call ended; None where it is time to look again."""
        told: asyncio.Future[CallResult | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(leader, set()).add(told)
        try:
            outcome, payload = await self._store.run(FOLLOW, leader, request_id)
            if outcome != b"alive":
                return CallResult.read(outcome, payload)
            await asyncio.wait((told,), timeout=min(RECHECK_S, payload / 1e6))
            return told.result() if told.done() else None
        finally:
            others = self._waiting[leader]
            others.discard(told)
            if not others:
                del self._waiting[leader]

    async def leave(self, leader: str, request_id: str) -> None:
        """No longer be one for whom the call is made."""
        try:
            await self._store.call("ZREM", f"conviction:followers:{leader}", request_id)
        except StoreUnavailable:
            return  # interest that is not renewed ends by itself

    async def _listen(self) -> None:
        while True:
            try:
                writer = await connect(self._redis, self._timeout_s)
            except StoreUnavailable:
                await asyncio.sleep(PAUSE_S)
                continue
            ear = _Subscriber(writer, self._timeout_s, self._hear)
            try:
                writer.write(pack("SUBSCRIBE", CHANNEL))
                await ear.deaf.wait()
            finally:
                ear.disconnect()

    def _hear(self, message: Any) -> None:
        match message:
            case [b"subscribe", *_]:
                for waiting in self._waiting.values():
                    _tell(waiting, None)
            case [b"message", _, text]:
                leader, outcome, payload = text.split(b"\n", 2)
                _tell(self._waiting.get(leader.decode(), ()), CallResult.read(outcome, payload))


class _Subscriber(Line):
    """A connection that is only listened to."""

    def __init__(self, writer: asyncio.StreamWriter, timeout_s: float, heard: Callable[[Any], None]) -> None:
        super().__init__(writer, timeout_s)
        self.deaf = asyncio.Event()
        self._heard = heard

    def hear(self, reply: Any) -> None:
        self._heard(reply)

    def disconnect(self, error: Exception | None = None) -> None:
        super().disconnect(error)
        self.deaf.set()


def _tell(waiting: set[asyncio.Future[CallResult | None]] | tuple[()], landing: CallResult | None) -> None:
    for told in waiting:
        if not told.done():
            told.set_result(landing)
