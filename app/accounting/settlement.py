"""Settlement of calls: immediately, or, while the store is unavailable, when it answers again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from app.accounting.admission import Admissions
from app.accounting.limit_status import LimitStatus
from app.contract.completion import NO_USAGE, BackendName, Usage
from app.errors import StoreUnavailable
from app.pricing.prices import Cost
from app.stores.shared_calls import NO_RESULT, CallResult
from app.telemetry.metrics import Collectors

RETRY_S = 0.5
CLOSING_FAILURES = 3
"""Failures after which closing abandons what is left: one settlement that always fails does not block the others."""
RECOVERABLE_S = 100.0
"""Less than the store remembers a settlement for (`SETTLED_TTL_S`): a repeated one is not taken for a lost one."""
MAX_PENDING = 10_000
"""Settlements queued for the store. Beyond it the oldest are dropped, and charged as unconfirmed by the store."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pending:
    """A call's usage; none, if its reservation is to be released."""

    request_id: str
    backend: BackendName
    usage: Usage = NO_USAGE
    nano_usd: int = 0
    admitted: LimitStatus | None = None
    since: float = field(default_factory=monotonic)


class Settlements:
    """Settles or releases the reservation of a call that ended. Repeating a settlement changes nothing."""

    def __init__(self, admissions: Admissions, collectors: Collectors) -> None:
        self._admissions = admissions
        self._collectors = collectors
        self._pending: deque[_Pending] = deque()
        self._retrying: asyncio.Task[None] | None = None

    async def settle(
        self,
        request_id: str,
        backend: BackendName,
        usage: Usage,
        cost: Cost | None,
        result: CallResult = NO_RESULT,
        admitted: LimitStatus | None = None,
    ) -> None:
        """Book the call's usage, or release its reservation if it has no cost, and publish its result.

        With the limit status of its admission it is booked also if the store has lost the reservation.
        """
        if cost is None:
            pending = _Pending(request_id, backend)
        else:
            pending = _Pending(request_id, backend, usage, cost.nano_usd, admitted)
        try:
            await self._book(pending, result)
        except StoreUnavailable as error:
            self._collectors.store_errors.labels("ledger").inc()
            log.warning("a settlement waits for the store: %s", error.detail)
            self._enqueue(pending)
        except asyncio.CancelledError:
            self._enqueue(pending)
            raise

    def release_later(self, request_id: str, backend: BackendName) -> None:
        """Release in the background what an admission without a reply may have reserved."""
        if len(self._pending) < MAX_PENDING:
            self._enqueue(_Pending(request_id, backend))

    def log_unreserved(self, backend: BackendName, cost: Cost) -> None:
        """Log that no ledger holds the cost of a call, which could not be reserved."""
        self._collectors.store_errors.labels("ledger").inc()
        log.warning("%d nano-dollars of %s are in no ledger: the store was unavailable", cost.nano_usd, backend)

    async def close(self) -> None:
        """Try the pending settlements; what fails is charged as unconfirmed when its lease ends."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait((self._retrying,))
        for _ in range(CLOSING_FAILURES):
            with suppress(StoreUnavailable):
                await self._book_pending()
        for pending in self._pending:
            _log_lost(pending)

    async def _book(self, pending: _Pending, result: CallResult = NO_RESULT) -> None:
        if pending.usage == NO_USAGE:
            await self._admissions.release(pending.request_id, result)
        else:
            await self._settle(pending, result)

    async def _settle(self, pending: _Pending, result: CallResult) -> None:
        request_id, usage, nano_usd, admitted = pending.request_id, pending.usage, pending.nano_usd, pending.admitted
        settlement = await self._admissions.settle(request_id, usage, nano_usd, result)
        if settlement == "unknown" and admitted and monotonic() - pending.since < RECOVERABLE_S:
            await self._admissions.recover(request_id, pending.backend, usage, nano_usd, admitted)
            log.warning("%s is booked: the store had lost its reservation, as a failover does", request_id)

    def _enqueue(self, pending: _Pending) -> None:
        if len(self._pending) == MAX_PENDING:
            _log_lost(self._pending.popleft())
        self._pending.append(pending)
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        while self._pending:
            await asyncio.sleep(RETRY_S)
            with suppress(StoreUnavailable):
                await self._book_pending()

    async def _book_pending(self) -> None:
        """Book pending settlements until one fails, which is then the last in the queue."""
        while self._pending:
            pending = self._pending.popleft()
            try:
                await self._book(pending)
            except BaseException:
                self._pending.append(pending)
                raise


def _log_lost(pending: _Pending) -> None:
    if pending.usage != NO_USAGE:
        log.error("%d nano-dollars of %s are in no ledger: %s", pending.nano_usd, pending.backend, pending.request_id)
