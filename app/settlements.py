"""Booking what calls took: at once, or, where the store is away, as soon as it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from app.backends.base import BackendName, Usage
from app.costs import Cost
from app.errors import StoreUnavailable
from app.metrics import Collectors
from app.stores.admission import Admissions
from app.stores.following import OVER, Landing

RETRY_S = 0.5
KEPT = 10_000
"""Settlements that wait for the store; the oldest are given up first, to be charged as unconfirmed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Due:
    request_id: str
    backend: BackendName
    usage: Usage
    nano_usd: int


class Settlements:
    """What was reserved is settled or released once its call has ended; asking twice changes nothing."""

    def __init__(self, admissions: Admissions, collectors: Collectors) -> None:
        self._admissions = admissions
        self._collectors = collectors
        self._due: deque[_Due] = deque(maxlen=KEPT)
        self._trying: asyncio.Task[None] | None = None

    async def settle(
        self, request_id: str, backend: BackendName, usage: Usage, cost: Cost, landing: Landing = OVER
    ) -> None:
        """Book what the call took and pass its answer on."""
        self._collectors.of[backend].spend(usage, cost)
        try:
            await self._admissions.settle(request_id, usage, cost.nano_usd, landing)
        except StoreUnavailable as error:
            self._missed(error)
            self._due.append(_Due(request_id, backend, usage, cost.nano_usd))
            if self._trying is None or self._trying.done():
                self._trying = asyncio.create_task(self._try_until_done())

    async def release(self, request_id: str, landing: Landing = OVER) -> None:
        """Give back what was reserved for a call that cost nothing; where the store is away, its lease does."""
        try:
            await self._admissions.release(request_id, landing)
        except StoreUnavailable as error:
            self._missed(error)

    def forgo(self, backend: BackendName, usage: Usage, cost: Cost) -> None:
        """Count what a call took that could not be reserved, and say that it is in no ledger."""
        self._collectors.of[backend].spend(usage, cost)
        self._collectors.store_errors.labels("ledger").inc()
        log.warning("%d nano-dollars of %s are in no ledger: the store was away", cost.nano_usd, backend)

    async def close(self) -> None:
        """Try once more what is still due; what cannot be booked is charged as unconfirmed when its lease ends."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait((self._trying,))
        try:
            await self._book()
        except StoreUnavailable:
            for due in self._due:
                log.error("%d nano-dollars of %s are in no ledger: %s", due.nano_usd, due.backend, due.request_id)

    async def _try_until_done(self) -> None:
        while self._due:
            await asyncio.sleep(RETRY_S)
            try:
                await self._book()
            except StoreUnavailable:
                continue

    async def _book(self) -> None:
        while self._due:
            due = self._due[0]
            await self._admissions.settle(due.request_id, due.usage, due.nano_usd)
            if self._due and self._due[0] is due:
                self._due.popleft()

    def _missed(self, error: StoreUnavailable) -> None:
        self._collectors.store_errors.labels("ledger").inc()
        log.warning("a settlement waits for the store: %s", error.detail)
