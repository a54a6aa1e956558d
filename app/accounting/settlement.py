"""Booking what calls took: at once, or, where the store is away, as soon as it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from app.accounting.admission import Admissions
from app.contract.completion import NOTHING, BackendName, Usage
from app.errors import StoreUnavailable
from app.pricing.prices import Cost
from app.stores.shared_calls import NO_RESULT, CallResult
from app.telemetry.metrics import Collectors

RETRY_S = 0.5
KEPT = 10_000
"""Settlements that wait for the store; the oldest are given up first, to be charged as unconfirmed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Due:
    """What a call took; nothing, where its reservation is to be released."""

    request_id: str
    backend: BackendName
    usage: Usage = NOTHING
    nano_usd: int = 0


class Settlements:
    """What was reserved is settled or released once its call has ended; asking twice changes nothing."""

    def __init__(self, admissions: Admissions, collectors: Collectors) -> None:
        self._admissions = admissions
        self._collectors = collectors
        self._due: deque[_Due] = deque()
        self._trying: asyncio.Task[None] | None = None

    async def settle(
        self, request_id: str, backend: BackendName, usage: Usage, cost: Cost, landing: CallResult = NO_RESULT
    ) -> None:
        """Book what the call took and pass its answer on."""
        self._collectors.by_backend[backend].count_usage(usage, cost)
        await self._close(_Due(request_id, backend, usage, cost.nano_usd), landing)

    async def release(self, request_id: str, backend: BackendName, landing: CallResult = NO_RESULT) -> None:
        """Give back what was reserved for a call that cost nothing."""
        await self._close(_Due(request_id, backend), landing)

    def undo(self, request_id: str, backend: BackendName) -> None:
        """Give back, as soon as may be, what an admission may have reserved whose reply did not come."""
        if len(self._due) < KEPT:
            self._put_off(_Due(request_id, backend))

    def forgo(self, backend: BackendName, usage: Usage, cost: Cost) -> None:
        """Count what a call took that could not be reserved, and say that it is in no ledger."""
        self._collectors.by_backend[backend].count_usage(usage, cost)
        self._collectors.store_errors.labels("ledger").inc()
        log.warning("%d nano-dollars of %s are in no ledger: the store was away", cost.nano_usd, backend)

    async def close(self) -> None:
        """Try once more what is still due; what cannot be booked is charged as unconfirmed when its lease ends."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait((self._trying,))
        try:
            await self._try()
        except StoreUnavailable:
            for due in self._due:
                _given_up(due)

    async def _close(self, due: _Due, landing: CallResult) -> None:
        try:
            await self._book(due, landing)
        except StoreUnavailable as error:
            self._collectors.store_errors.labels("ledger").inc()
            log.warning("a settlement waits for the store: %s", error.detail)
            self._put_off(due)
        except asyncio.CancelledError:
            self._put_off(due)
            raise

    async def _book(self, due: _Due, landing: CallResult = NO_RESULT) -> None:
        if due.usage == NOTHING:
            await self._admissions.release(due.request_id, landing)
        else:
            await self._admissions.settle(due.request_id, due.usage, due.nano_usd, landing)

    def _put_off(self, due: _Due) -> None:
        if len(self._due) == KEPT:
            _given_up(self._due.popleft())
        self._due.append(due)
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try_until_done())

    async def _try_until_done(self) -> None:
        while self._due:
            await asyncio.sleep(RETRY_S)
            try:
                await self._try()
            except StoreUnavailable:
                continue

    async def _try(self) -> None:
        while self._due:
            due = self._due[0]
            await self._book(due)
            if self._due and self._due[0] is due:
                self._due.popleft()


def _given_up(due: _Due) -> None:
    if due.usage != NOTHING:
        log.error("%d nano-dollars of %s are in no ledger: %s", due.nano_usd, due.backend, due.request_id)
