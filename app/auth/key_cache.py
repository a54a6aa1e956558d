"""Whose key it is, remembered for seconds, so that hardly a request waits for Redis.

A key that is revoked opens nothing `FRESH_S` later, on any replica. While Redis does not answer, keys that were good
lately stay so for `GRACE_S` from when they were last checked; of the rest nothing can be said, and `StoreUnavailable`
says that.
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
PAUSE_S = 1.0
"""After Redis did not answer, nobody waits for it this long; then one request tries."""
TRIPS = 8
"""To Redis at a time, so that a flood of wrong keys does not take every connection."""
MOST_KNOWN, MOST_UNKNOWN = 10_000, 1_000
"""Ids remembered. They are counted apart, so that made-up ones push no known one out."""

NOBODY = "0" * 64
"""What the secret of an unknown id is compared with: as much work as for a known one, and no hash that occurs."""


@dataclass(frozen=True, slots=True)
class _Seen:
    digest: str = field(repr=False)
    principal: Principal | None
    """None: a key of this id opens nothing."""
    at: float


class KeyCache:
    """Turns the text of an issued key into its holder."""

    def __init__(self, store: KeyStore, defaults: Limits, clock: Callable[[], float] = monotonic) -> None:
        self.store = store
        self._defaults = defaults
        self._clock = clock
        self._known: OrderedDict[str, _Seen] = OrderedDict()
        self._unknown: OrderedDict[str, _Seen] = OrderedDict()
        self._trips = asyncio.Semaphore(TRIPS)
        self._away_until: float | None = None

    async def principal(self, text: str) -> Principal | None:
        """Whose key it is; None if nobody's. Raises `StoreUnavailable` where that cannot be found out."""
        key = KeyText.parse(text)
        if key is None:
            return None
        seen = self._recall(key.id)
        if seen is None or not self._younger(seen, FRESH_S):
            seen = await self._look_up(key.id)
        return seen.principal if hmac.compare_digest(seen.digest, key.digest()) else None

    def forget(self, key_id: str) -> None:
        """Look the id up anew at its next use."""
        self._known.pop(key_id, None)
        self._unknown.pop(key_id, None)

    async def _look_up(self, key_id: str) -> _Seen:
        async with self._trips:
            seen = self._recall(key_id)  # somebody may have looked meanwhile
            if seen is not None and self._younger(seen, FRESH_S):
                return seen
            if self._may_ask():
                asked = self._clock()
                try:
                    record = await self.store.get(key_id)
                except StoreUnavailable:
                    self._away_until = self._clock() + PAUSE_S
                else:
                    self._away_until = None
                    return self._remember(key_id, record, asked)
        if key_id in self._known and seen is not None and self._younger(seen, GRACE_S):
            return seen
        raise StoreUnavailable("whether the key is good cannot be checked now", retry_after=PAUSE_S)

    def _may_ask(self) -> bool:
        """Whether Redis is worth a try. Of those who find a pause over, the first tries and the rest wait on."""
        if self._away_until is None:
            return True
        now = self._clock()
        over = now >= self._away_until
        if over:
            self._away_until = now + PAUSE_S
        return over

    def _recall(self, key_id: str) -> _Seen | None:
        return self._known.get(key_id) or self._unknown.get(key_id)

    def _younger(self, seen: _Seen, seconds: float) -> bool:
        return self._clock() - seen.at < seconds

    def _remember(self, key_id: str, record: KeyRecord | None, asked: float) -> _Seen:
        self.forget(key_id)
        if record is None:
            kept, most, seen = self._unknown, MOST_UNKNOWN, _Seen(NOBODY, None, asked)
        else:
            principal = None if record.revoked else record.principal(self._defaults)
            kept, most, seen = self._known, MOST_KNOWN, _Seen(record.digest, principal, asked)
        kept[key_id] = seen
        if len(kept) > most:
            kept.popitem(last=False)
        return seen
