"""The spending cap: a call is sent only if the worst-case cost of all open calls stays within it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

from app.pricing.prices import in_usd
from training.labeling.journal import Answered, Journal

Outcome = Answered | Literal["unbilled", "unknown"]
"""How a call ended; one whose outcome is unknown may have been billed and stays open."""


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

    async def send(self, call: str, at_most: Mapping[str, int]) -> None:
        """Journal a call before it is sent, once its worst-case cost fits; `at_most` is that of each question.

        Waits for calls in flight to settle. Raises `CapReached` if it does not fit even then.
        """
        cost = sum(at_most.values())
        async with self._settled:
            await self._settled.wait_for(lambda: cost <= self.left or not self._under_way)
            if cost > self.left:
                raise self.reached(cost)
            self.journal.send(call, at_most)
            self._under_way.add(call)

    async def settle(self, call: str, outcome: Outcome) -> None:
        """Journal the end of a call."""
        async with self._settled:
            self._under_way.discard(call)
            self._settled.notify_all()
            if isinstance(outcome, Answered):
                self.journal.answered(outcome)
            elif outcome == "unbilled":
                self.journal.unbilled(call)

    def reached(self, needed: int) -> CapReached:
        return CapReached(
            f"teacher.max_usd: ${in_usd(self.journal.spent)} of ${in_usd(self.nano_usd)} is spent or reserved, and "
            f"the next call could cost ${in_usd(needed)}; {len(self.journal.labels)} labels are kept in "
            f"{self.journal.path}: raise it and run again to continue"
        )
