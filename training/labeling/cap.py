"""The spending cap: a call is sent only if the worst-case cost of all open calls stays within it."""

from __future__ import annotations

import asyncio

from training.labeling.journal import Answered, Closed, Journal, Sent
from training.labeling.tariff import in_usd


class CapReached(ValueError):
    """The next call could exceed the cap; all answers so far are kept."""


class Cap:
    """The cap on a journal; `nano_usd` bounds the cost of all its calls."""

    def __init__(self, journal: Journal, nano_usd: int) -> None:
        self.journal, self.nano_usd = journal, nano_usd
        self._settled = asyncio.Condition()
        self._under_way: set[str] = set()

    @property
    def left(self) -> int:
        return self.nano_usd - self.journal.spent

    async def send(self, sent: Sent) -> None:
        """Journal a call before it is sent, once its worst-case cost fits.

        Waits for calls in flight to settle. Raises `CapReached` if it does not fit even then.
        """
        async with self._settled:
            await self._settled.wait_for(lambda: sent.nano_usd <= self.left or not self._under_way)
            if sent.nano_usd > self.left:
                raise self.reached(sent.nano_usd)
            self.journal.write(sent)
            self._under_way.add(sent.call)

    async def settle(self, call: str, entry: Answered | Closed | None) -> None:
        """Journal the end of a call; None leaves it open, because it may have been billed."""
        async with self._settled:
            self._under_way.discard(call)
            self._settled.notify_all()
            if entry is not None:
                self.journal.write(entry)

    def reached(self, needed: int) -> CapReached:
        return CapReached(
            f"teacher.max_usd: ${in_usd(self.journal.spent)} of ${in_usd(self.nano_usd)} is spent or reserved, and "
            f"the next call could cost ${in_usd(needed)}; {len(self.journal.labels)} labels are kept in "
            f"{self.journal.path}: raise it and run again to continue"
        )
