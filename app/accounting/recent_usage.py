"""What backends were used for lately: sums of settled calls by the minute, of all gateways on a store."""

from __future__ import annotations

from dataclasses import dataclass

from app.contract.completion import BackendName
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script

USE = Script("clock", "present", "use")
MINUTES = 60
"""That are summed up. The last is not over, so that the span is up to a minute shorter."""


@dataclass(frozen=True)
class Use:
    """Calls that ended and were booked; `cached_input_tokens` are not among the input tokens."""

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.cached_input_tokens + self.output_tokens


class RecentUse:
    """Reads the sums that settling adds to."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def of(self, backend: BackendName) -> Use:
        """The last hour's. Raises `StoreUnavailable`."""
        told = await self._store.run(USE, backend, MINUTES)
        sums = {name.decode(): int(value) for name, value in zip(told[::2], told[1::2], strict=True)}
        return Use(*(sums.get(name, 0) for name in Use.__dataclass_fields__))
