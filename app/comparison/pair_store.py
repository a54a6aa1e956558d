"""Pairs of answers to compare, in Redis: appended a record each to chunks of many, the oldest chunks dropped.

A pair has a place, counted from 0, that never changes, and pairs lie in the order of their times, which are Redis' own:
any number of gateways append to the same chunks, and a span of time is a run of records. Every method raises
`StoreUnavailable` where Redis does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from secrets import token_bytes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.comparison.pairs import RECORD, Pair, Records, moment
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script

APPEND = Script("clock", "pair")
PAIRS = "conviction:pairs:1"
"""The number is the record's form: another form begins anew, under another number."""
SECRET = f"{PAIRS}:secret"
CHUNK = 1024
"""Pairs that lie in one Redis string: some 150 kB, so that reading many holds no other caller up."""
TIME = 8
"""Bytes of a record that the store itself writes."""

Chosen = Callable[[Records], NDArray[np.bool_]]


def every(records: Records) -> NDArray[np.bool_]:
    """Chooses all."""
    return np.ones(len(records), np.bool_)


class Comparisons:
    """The latest `kept` pairs, and up to a chunk more that are not shown any longer."""

    def __init__(self, store: Pipelined, kept: int) -> None:
        self._store, self._kept = store, kept
        self._secret: bytes | None = None

    async def append(self, pair: Pair) -> Pair:
        """Keep the pair; as it is kept, with the time that the store gave it."""
        _, time_ms = await self._store.run(APPEND, pair.pack()[TIME:], CHUNK, self._kept)
        return replace(pair, at=moment(time_ms))

    async def page(
        self,
        before: int | None,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        chosen: Chosen = every,
    ) -> tuple[Sequence[Pair], int | None]:
        """Up to `limit` chosen pairs, the newest first, of those before a place and in a span of time; and where there
        are more, the place to ask before next."""
        found: list[Pair] = []
        places: list[int] = []
        async for place, records in self._backwards(start_ms, before):
            within = _within(records, start_ms, end_ms)
            picks = within.start + np.flatnonzero(chosen(records[within]))[::-1][: limit + 1 - len(found)]
            found += [Pair.of(record) for record in records[picks]]
            places += [place + int(pick) for pick in picks]
            if len(found) > limit:
                return found[:limit], places[limit - 1]
        return found, None

    async def span(self, start_ms: int | None, end_ms: int | None) -> Sequence[Records]:
        """The records from a time to before another, in milliseconds since 1970, the oldest first: runs of them."""
        parts = [records[_within(records, start_ms, end_ms)] async for _, records in self._backwards(start_ms)]
        return parts[::-1]

    async def secret(self) -> bytes:
        """32 random bytes that all gateways on this store share."""
        if self._secret is None:
            await self._store.call("SET", SECRET, token_bytes(32), "NX")
            self._secret = await self._store.call("GET", SECRET)
        assert self._secret is not None
        return self._secret

    async def _backwards(self, start_ms: int | None, before: int | None = None) -> AsyncIterator[tuple[int, Records]]:
        """The chunks and the place of the first record of each, the newest first, down to the one that the time lies
        in; of the newest, what lies before a place."""
        first, end = await self._bounds()
        end = end if before is None else min(before, end)
        for chunk in reversed(range(first // CHUNK, -(-end // CHUNK))):
            base = chunk * CHUNK
            skipped = max(0, first - base)
            records = (await self._read(chunk))[skipped : end - base]
            if len(records):
                yield base + skipped, records
                if start_ms is not None and records["time_ms"][0] < start_ms:
                    return

    async def _bounds(self) -> tuple[int, int]:
        """The place of the oldest pair that is shown, and the place after the newest."""
        count, dropped = await self._store.call("HMGET", PAIRS, "count", "first")
        end = int(count or 0)
        return max(int(dropped or 0) * CHUNK, end - self._kept), end

    async def _read(self, chunk: int) -> Records:
        """A chunk's records; fewer than before where it is being dropped meanwhile."""
        content: Any = await self._store.call("GET", f"{PAIRS}:{chunk}")
        return np.frombuffer(content or b"", RECORD)


def _within(records: Records, start_ms: int | None, end_ms: int | None) -> slice:
    """Where the records of a span of time lie."""
    times = records["time_ms"]
    low = 0 if start_ms is None else int(np.searchsorted(times, start_ms))
    return slice(low, len(records) if end_ms is None else max(low, int(np.searchsorted(times, end_ms))))
