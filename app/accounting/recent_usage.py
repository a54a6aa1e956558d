"""Recent usage of backends: sums of settled calls by the minute, of all gateways on a store."""

from __future__ import annotations

from dataclasses import dataclass

from app.contract.completion import BackendName
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script

RECENT_USAGE = Script("clock", "usage_key", "recent_usage")
MINUTES = 60
"""The last one is incomplete, so the span is up to a minute shorter."""


@dataclass(frozen=True)
class Use:
    """Sums of settled calls; `input_tokens` excludes `cached_input_tokens`."""

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.cached_input_tokens + self.output_tokens


class RecentUsage:
    """Reads the sums that settlements add to."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def of(self, backend: BackendName) -> Use:
        """Return the last hour's sums. Raises `StoreUnavailable`."""
        reply = await self._store.run(RECENT_USAGE, backend, MINUTES)
        sums = {name.decode(): int(value) for name, value in zip(reply[::2], reply[1::2], strict=True)}
        return Use(*(sums.get(name, 0) for name in Use.__dataclass_fields__))
