"""The cap: no call is sent that could pass it, whatever the calls under way turn out to cost."""

from __future__ import annotations

import asyncio

from training.labeling.journal import Answered, Closed, Journal, Sent
from training.labeling.tariff import in_usd


class CapReached(ValueError):
    """The next call could cost more than is left; everything answered so far is kept."""


class Cap:
    """Watches over a journal: `nano_usd` is what all of its calls together may cost."""

    def __init__(self, journal: Journal, nano_usd: int) -> None:
        self.journal, self.nano_usd = journal, nano_usd
        self._settled = asyncio.Condition()
        self._under_way: set[str] = set()

    @property
    def left(self) -> int:
        return self.nano_usd - self.journal.spent

    async def send(self, sent: Sent) -> None:
        """Write a call down before it is sent, once it fits beside those under way.

        Raises `CapReached` where it does not, even after they have ended.
        """
        async with self._settled:
            await self._settled.wait_for(lambda: sent.nano_usd <= self.left or not self._under_way)
            if sent.nano_usd > self.left:
                raise self.reached(sent.nano_usd)
            self.journal.write(sent)
            self._under_way.add(sent.call)

    async def settle(self, call: str, entry: Answered | Closed | None) -> None:
        """Write down how a call ended; None leaves it open, as it may have been paid for."""
        async with self._settled:
            self._under_way.discard(call)
            self._settled.notify_all()
            if entry is not None:
                self.journal.write(entry)

    def reached(self, needed: int) -> CapReached:
        return CapReached(
            f"teacher.max_usd: ${in_usd(self.journal.spent)} of ${in_usd(self.nano_usd)} is spent or under way, and "
            f"the next call could cost ${in_usd(needed)}; {len(self.journal.labels)} labels are kept in "
            f"{self.journal.path}: raise it and run again to go on"
        )
