"""The principals of issued keys, cached for seconds so that few requests wait for Redis.

A revoked key stops working within `FRESH_S` on every replica. While Redis does not answer, a valid key keeps working
for `GRACE_S` after its last check; other keys raise `StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from app.auth.api_key import KeyRecord, KeyText
from app.auth.key_store import KeyStore
from app.auth.principal import Principal
from app.errors import StoreUnavailable
from app.pricing.limits import Limits

FRESH_S = 5.0
GRACE_S = 60.0
RETRY_S = 1.0
"""After Redis did not answer, lookups fail without asking it for this long; then one request tries."""
MAX_LOOKUPS = 8
"""Concurrent lookups, so that a flood of wrong keys does not take every connection."""
MAX_KNOWN, MAX_UNKNOWN = 10_000, 1_000
"""Cached ids. They are counted separately, so that invented ids evict no real one."""

NO_DIGEST = "0" * 64
"""Compared with the secret of an unknown id, to take as long as for a known one. No secret has this SHA-256."""


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: str = field(repr=False)
    principal: Principal | None
    """None if the key is unknown or revoked."""
    checked_at: float


class KeyCache:
    """Looks up the principal of an issued key."""

    def __init__(self, store: KeyStore, defaults: Limits, clock: Callable[[], float] = monotonic) -> None:
        self.store = store
        self._defaults = defaults
        self._clock = clock
        self._known: OrderedDict[str, _Entry] = OrderedDict()
        self._unknown: OrderedDict[str, _Entry] = OrderedDict()
        self._lookups = asyncio.Semaphore(MAX_LOOKUPS)
        self._unavailable_until: float | None = None

    async def principal(self, text: str) -> Principal | None:
        """Return the key's principal; None if the key is invalid. Raises `StoreUnavailable` if it cannot be checked."""
        key = KeyText.parse(text)
        if key is None:
            return None
        entry = self._get(key.id)
        if entry is None or not self._younger(entry, FRESH_S):
            entry = await self._look_up(key.id)
        return entry.principal if hmac.compare_digest(entry.digest, key.digest()) else None

    def forget(self, key_id: str) -> None:
        """Remove the id from the cache."""
        self._known.pop(key_id, None)
        self._unknown.pop(key_id, None)

    async def _look_up(self, key_id: str) -> _Entry:
        async with self._lookups:
            entry = self._get(key_id)  # another request may have looked it up meanwhile
            if entry is not None and self._younger(entry, FRESH_S):
                return entry
            if self._may_try():
                now = self._clock()
                try:
                    record = await self.store.get(key_id)
                except StoreUnavailable:
                    self._unavailable_until = self._clock() + RETRY_S
                else:
                    self._unavailable_until = None
                    return self._put(key_id, record, now)
        if key_id in self._known and entry is not None and self._younger(entry, GRACE_S):
            return entry
        raise StoreUnavailable("the key cannot be checked now", retry_after=RETRY_S)

    def _may_try(self) -> bool:
        """Return whether to ask Redis. When `RETRY_S` is over, the first request tries and starts it again."""
        if self._unavailable_until is None:
            return True
        now = self._clock()
        over = now >= self._unavailable_until
        if over:
            self._unavailable_until = now + RETRY_S
        return over

    def _get(self, key_id: str) -> _Entry | None:
        return self._known.get(key_id) or self._unknown.get(key_id)

    def _younger(self, entry: _Entry, seconds: float) -> bool:
        return self._clock() - entry.checked_at < seconds

    def _put(self, key_id: str, record: KeyRecord | None, now: float) -> _Entry:
        self.forget(key_id)
        if record is None:
            entries, size, entry = self._unknown, MAX_UNKNOWN, _Entry(NO_DIGEST, None, now)
        else:
            principal = None if record.revoked else record.principal(self._defaults)
            entries, size, entry = self._known, MAX_KNOWN, _Entry(record.digest, principal, now)
        entries[key_id] = entry
        if len(entries) > size:
            entries.popitem(last=False)
        return entry
