"""Pairs of answers in Redis: records appended to chunks, of which the oldest are dropped.

A pair has a permanent position, counted from 0. Redis' clock stamps the pairs, so that records of all gateways are in
order of time and a time span is a contiguous range. Every method raises `StoreUnavailable`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.comparison.pairs import Pair
from app.comparison.records import BLINDS, MAIN, Records, Sides, join, moment
from app.comparison.versions import Versions, numbered
from app.contract.completion import BACKEND_NAMES
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script

APPEND = Script("clock", "pair")
PAIRS = "conviction:pairs:1"
"""The number is the version of the record format; a new format starts with empty chunks under a new number."""
EXTRAS = "conviction:pair_extras:1"
"""Chunks of the fields from `blind` on, apart because gateways that do not know them may share the store."""
VERSIONS = "conviction:pair_versions"
"""The numbers of versions by name. They are never removed."""
CHUNK = 1024
"""Pairs per Redis string: about 150 kB, so that a read does not delay other callers."""
TIME = 8
"""Bytes of a record that the store writes."""

Mask = Callable[[Records], NDArray[np.bool_]]


def select_all(records: Records) -> NDArray[np.bool_]:
    """Return a mask that selects every record."""
    return np.ones(len(records), np.bool_)


class Comparisons:
    """The latest `kept` pairs of these sides; the store holds up to one chunk more, which is not shown."""

    def __init__(self, store: Pipelined, kept: int, sides: Sides = BACKEND_NAMES) -> None:
        self._store, self._kept, self.sides = store, kept, sides
        self._suffix = _suffix(sides)

    def of(self, sides: Sides) -> Comparisons:
        """Return the pairs of other sides in the same store."""
        return self if sides == self.sides else Comparisons(self._store, self._kept, sides)

    async def append(self, pair: Pair) -> Pair:
        """Store the pair with those of its sides, and return it with the store's time."""
        names = [version.name if (version := pair.sides[name].version) else "" for name in pair.names]
        record, blind, suffix = pair.pack()[TIME:MAIN], BLINDS.index(pair.blind), _suffix(pair.names)
        _, time_ms = await self._store.run(APPEND, record, CHUNK, self._kept, blind, *names, suffix)
        return replace(pair, at=moment(time_ms))

    async def page(
        self,
        before: int | None,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        mask: Mask = select_all,
    ) -> tuple[Sequence[Pair], int | None]:
        """Return up to `limit` selected pairs, the newest first, and the `before` of the next page if there is one.

        Only pairs at positions below `before` and within the time span are returned.
        """
        found: list[np.void] = []
        positions: list[int] = []
        async for position, records in self._backwards(start_ms, before):
            within = _within(records, start_ms, end_ms)
            picks = within.start + np.flatnonzero(mask(records[within]))[::-1][: limit + 1 - len(found)]
            found.extend(records[picks])
            positions += [position + int(pick) for pick in picks]
            if len(found) > limit:
                break
        versions = await self.versions()
        pairs = [Pair.of(record, versions) for record in found[:limit]]
        return pairs, positions[limit - 1] if len(found) > limit else None

    async def span(self, start_ms: int | None, end_ms: int | None) -> Sequence[Records]:
        """Return the records in [start, end), in milliseconds since 1970, as arrays from the oldest to the newest."""
        parts = [records[_within(records, start_ms, end_ms)] async for _, records in self._backwards(start_ms)]
        return parts[::-1]

    async def versions(self) -> Versions:
        """Return the versions by the numbers in records, also of records read before this call."""
        listed: list[bytes] = await self._store.call("HGETALL", VERSIONS)
        return numbered(dict(zip(listed[::2], listed[1::2], strict=True)))

    async def _backwards(self, start_ms: int | None, before: int | None = None) -> AsyncIterator[tuple[int, Records]]:
        """Yield each chunk and the position of its first record, the newest first, back to `start_ms`; only records at
        positions below `before`."""
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
        """Return the position of the oldest pair that is shown, and the position after the newest."""
        count, dropped = await self._store.call("HMGET", f"{PAIRS}{self._suffix}", "count", "first")
        end = int(count or 0)
        return max(int(dropped or 0) * CHUNK, end - self._kept), end

    async def _read(self, chunk: int) -> Records:
        """Return a chunk's records; none if it was dropped in the meantime."""
        keys = (f"{name}{self._suffix}:{chunk}" for name in (PAIRS, EXTRAS))
        main, extras = await self._store.call("MGET", *keys)
        return join(main or b"", extras or b"", self.sides)


def _suffix(sides: Sides) -> str:
    """Return what follows the names of keys that hold pairs of these sides."""
    return "" if sides == BACKEND_NAMES else f":{sides[0]}:{sides[1]}"


def _within(records: Records, start_ms: int | None, end_ms: int | None) -> slice:
    """Return the slice of the records within a time span."""
    times = records["time_ms"]
    low = 0 if start_ms is None else int(np.searchsorted(times, start_ms))
    return slice(low, len(records) if end_ms is None else max(low, int(np.searchsorted(times, end_ms))))
