"""What a request under an Idempotency-Key was answered, so that a repeat is answered the same and not billed again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex

from app.errors import IdempotencyConflict
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script

BEGIN = Script("begin")
FINISH = Script("finish")
HOLD = Script("hold")

KEPT_S = 24 * 3600
MOST_BYTES = 1024 * 1024
"""Of a body that is kept. That a larger one was answered is kept alone, and a repeat is refused."""
NOT_KEPT = 0
"""Stands for the status of an answer that was too large."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The first request under its key: answer it, then finish or abandon it."""

    key: str
    body_hash: str
    token: str


@dataclass(frozen=True, slots=True)
class InProgress:
    """The first request is being answered, for as long as this or until its lease is renewed."""

    lease_left_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """What the first request was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Idempotency:
    """Remembers answers by holder and key. Every method raises `StoreUnavailable` where Redis does not answer."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def begin(self, holder_id: str, key: str, body: bytes, lease_s: float) -> Fresh | InProgress | Done:
        """What is known of a key; `lease_s` later a first request that was neither finished nor renewed is forgotten.

        Raises `IdempotencyConflict` for another body than the first, and for an answer that was too large to keep.
        """
        fresh = Fresh(sha256(f"{holder_id}\n{key}".encode()).hexdigest(), sha256(body).hexdigest(), token_hex(8))
        reply = await self._store.run(BEGIN, fresh.key, fresh.body_hash, fresh.token, _ms(lease_s))
        match reply:
            case [b"fresh"]:
                return fresh
            case [b"conflict"]:
                raise IdempotencyConflict("the Idempotency-Key has been used for another request")
            case [b"in progress", left_ms]:
                return InProgress(left_ms / 1000)
        _, status, headers, answer = reply
        if int(status) == NOT_KEPT:
            raise IdempotencyConflict("the request was answered before, and the answer was too large to be kept")
        return Done(int(status), json.loads(headers), answer)

    async def finish(self, fresh: Fresh, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Keep the answer for a day. False: the lease had ended, and another request has the key."""
        kept = (status, json.dumps(dict(headers)), body) if len(body) <= MOST_BYTES else (NOT_KEPT, "{}", b"")
        return bool(await self._store.run(FINISH, fresh.key, fresh.body_hash, fresh.token, _ms(KEPT_S), *kept))

    async def renew(self, fresh: Fresh, lease_s: float) -> bool:
        """Let the lease end so much later than now. False: it is over."""
        return bool(await self._store.run(HOLD, fresh.key, fresh.token, _ms(lease_s)))

    async def abandon(self, fresh: Fresh) -> None:
        """Let a repeat be a first request: nothing came of this one."""
        await self._store.run(HOLD, fresh.key, fresh.token, 0)


def _ms(seconds: float) -> int:
    return max(1, int(1000 * seconds))
