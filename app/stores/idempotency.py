"""Stored responses by Idempotency-Key, so that a repeated request gets the same response and is not billed again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex

from app.errors import IdempotencyConflict
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script

BEGIN = Script("begin_idempotent")
FINISH = Script("finish_idempotent")
RENEW = Script("renew_idempotent")

RETENTION_S = 24 * 3600
MAX_BODY_BYTES = 1024 * 1024
"""A larger response is not stored, and a repeated request is refused."""
NOT_STORED = 0
"""The status stored for a response that was too large."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The first request under its key: handle it, then call `finish` or `abandon`."""

    key: str
    body_hash: str
    token: str


@dataclass(frozen=True, slots=True)
class InProgress:
    """The first request is still in progress; its lease ends in `lease_left_s` unless renewed."""

    lease_left_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """The response to the first request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Idempotency:
    """Stores responses by principal and key. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def begin(self, principal_id: str, key: str, body: bytes, lease_s: float) -> Fresh | InProgress | Done:
        """Look a key up, or lease it for `lease_s` to this request.

        Raises `IdempotencyConflict` if the body differs from the first, or the response cannot be returned.
        """
        fresh = Fresh(sha256(f"{principal_id}\n{key}".encode()).hexdigest(), sha256(body).hexdigest(), token_hex(8))
        reply = await self._store.run(BEGIN, fresh.key, fresh.body_hash, fresh.token, _ms(lease_s))
        match reply:
            case [b"fresh"]:
                return fresh
            case [b"conflict"]:
                raise IdempotencyConflict("the Idempotency-Key has been used for another request")
            case [b"in progress", left_ms]:
                return InProgress(left_ms / 1000)
            case [b"unreadable"]:
                raise IdempotencyConflict("the request was answered before, by another version of the gateway")
        _, status, headers, response = reply
        if int(status) == NOT_STORED:
            raise IdempotencyConflict("the request was answered before, and the response was too large to be stored")
        return Done(int(status), json.loads(headers), response)

    async def finish(self, fresh: Fresh, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Store the response for a day. False: the lease had ended and another request took the key."""
        stored = (status, json.dumps(dict(headers)), body) if len(body) <= MAX_BODY_BYTES else (NOT_STORED, "{}", b"")
        return bool(await self._store.run(FINISH, fresh.key, fresh.body_hash, fresh.token, _ms(RETENTION_S), *stored))

    async def renew(self, fresh: Fresh, lease_s: float) -> bool:
        """Extend the lease to `lease_s` from now. False: it has ended."""
        return bool(await self._store.run(RENEW, fresh.key, fresh.token, _ms(lease_s)))

    async def abandon(self, fresh: Fresh) -> None:
        """Release the key, so that the next request under it is a first one."""
        await self._store.run(RENEW, fresh.key, fresh.token, 0)


def _ms(seconds: float) -> int:
    return max(1, int(1000 * seconds))
