"""Admission and settlement of calls: limits, budgets, the cache and shared calls, one round trip a step.

The state is in Redis, the clock is Redis' clock, and each step is a script (`stores/lua/`), so all gateways on a store
share the same limits. A call's tokens and money are reserved before it is sent and settled after it ends. A call never
settled is charged as unconfirmed when its lease ends, or released if it had not been sent.

Every method raises `StoreUnavailable` if Redis does not answer; the step may then have been done. An admission without
a reply ends with its lease, and a settlement can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, cast

from app.accounting.admission_result import Admission, CacheHit, Follower, Leader, parse_admission
from app.accounting.limit_status import LimitStatus
from app.contract.completion import MAX_TOKENS, BackendName, Usage
from app.pricing.limits import MAX_CALL_NANO_USD, Estimate, Scope
from app.stores.pipelined import Pipelined
from app.stores.redis_protocol import Argument
from app.stores.scripts import ADMISSION, Script
from app.stores.shared_calls import NO_RESULT, CallResult

ADMIT = Script(*ADMISSION, "admit")
RENEW = Script(*ADMISSION, "renew")
SETTLE = Script(*ADMISSION, "settle")
RECOVER = Script(*ADMISSION, "recover")
SWEEP = Script(*ADMISSION, "sweep")
COUNT_REQUEST = Script(*ADMISSION, "count_request")
LIMIT_STATUS = Script(*ADMISSION, "limit_status")

Settlement = Literal["settled", "corrected", "repeated", "unknown"]
"""`corrected`: it had been charged as unconfirmed or released. `repeated`: it had been settled, nothing changed."""

log = logging.getLogger(__name__)


class Admissions:
    """Runs the scripts of admission."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def admit(
        self,
        request_id: str,
        scopes: Sequence[Scope],
        backend: BackendName,
        estimate: Estimate,
        *,
        lease_s: float,
        call_key: str | None = None,
        read_cache: bool = True,
        counted: bool = False,
        sent: bool = False,
    ) -> Admission:
        """Reserve the estimate, the most that the call can use, on all scopes or on none.

        With a `call_key`, a cached result or the same call of another request replaces the call, and counts against
        request limits alone. `counted`: an earlier admission of this request was counted, so this one is not. `sent`:
        the call is sent immediately, without `sent()`, which saves a round trip; a call that is then not sent must be
        released, and is charged as unconfirmed if its gateway dies before that.

        Raises `RateLimited` or `BudgetExceeded`, and `ValueError` if the request id was admitted before.
        """
        amounts = _bounded(estimate.tokens), _bounded(estimate.nano_usd, MAX_CALL_NANO_USD)
        call = (request_id, backend, *amounts, call_key or "")
        options = (int(read_cache), int(counted), "sent" if sent else "reserved", _us(lease_s))
        return parse_admission(await self._admit(*call, *options, scopes=scopes), tuple(scopes), sent)

    async def share(
        self,
        request_id: str,
        scopes: Sequence[Scope],
        call_key: str,
        *,
        read_cache: bool = True,
        counted: bool = False,
    ) -> CacheHit | Follower | None:
        """Return a cached result or a call to follow, as `admit` would; None, uncounted, if there is neither."""
        options = (int(read_cache), int(counted), "", 0)
        reply = await self._admit(request_id, "", 0, 0, call_key, *options, scopes=scopes)
        if reply[0] == b"absent":
            return None
        shared = parse_admission(reply, tuple(scopes))
        assert not isinstance(shared, Leader)
        return shared

    async def count_request(self, scopes: Sequence[Scope]) -> None:
        """Count a request before its admission, which is then `counted`. Raises `RateLimited`."""
        limits = [argument for scope in scopes for argument in scope.arguments]
        reply = await self._store.run(COUNT_REQUEST, *limits)
        if reply != [b"counted"]:
            parse_admission(reply, tuple(scopes))

    async def sent(self, request_id: str) -> bool:
        """Record that the call is about to be sent, and renew its lease. False: the lease has ended, do not send."""
        return bool(await self._store.run(RENEW, request_id, "sent", 0))

    async def renew(self, request_id: str, lease_s: float) -> bool:
        """Extend the lease to `lease_s` from now. False: it has ended; a later settlement corrects the charge."""
        return bool(await self._store.run(RENEW, request_id, "", _us(lease_s)))

    async def settle(self, request_id: str, usage: Usage, nano_usd: int, result: CallResult = NO_RESULT) -> Settlement:
        """Book the call's usage once, on the day of its admission, and publish its result to its followers."""
        return await self._close(request_id, result, *_booked(usage, nano_usd))

    async def recover(
        self, request_id: str, backend: BackendName, usage: Usage, nano_usd: int, admitted: LimitStatus
    ) -> bool:
        """Book the usage of a call whose settlement was `unknown` though it was admitted, as `admitted` states: a
        failover lost its reservation. False: it was booked before. The admission's day, scopes and limits apply."""
        limits = [argument for scope in admitted.scopes for argument in scope.arguments]
        booked = _booked(usage, nano_usd)
        return bool(await self._store.run(RECOVER, request_id, *booked, backend, admitted.at_us, *limits))

    async def release(self, request_id: str, result: CallResult = NO_RESULT) -> Settlement:
        """Release the reservation of a call that was not made or cost nothing."""
        return await self._close(request_id, result)

    async def sweep(self) -> None:
        """Expire all leases that have ended; each admission expires some of them."""
        while await self._store.run(SWEEP):
            pass

    async def limit_status(self, scopes: Sequence[Scope]) -> LimitStatus:
        """Return the scopes' current limit status."""
        limits = [argument for scope in scopes for argument in scope.arguments]
        return LimitStatus(tuple(scopes), await self._store.run(LIMIT_STATUS, *limits))

    async def _admit(self, *arguments: Argument, scopes: Sequence[Scope]) -> list[Any]:
        limits = [argument for scope in scopes for argument in scope.arguments]
        while True:
            reply: list[Any] = await self._store.run(ADMIT, *arguments, *limits)
            if reply[0] != b"again":  # many leases have ended, and each run releases a batch
                return reply

    async def _close(self, request_id: str, result: CallResult, *booked: int) -> Settlement:
        reply = await self._store.run(SETTLE, request_id, *result.arguments(), *booked)
        settlement = cast(Settlement, reply.decode())
        if settlement == "unknown" and booked:
            log.error("there is no reservation of %s: its usage %s is in no ledger yet", request_id, booked)
        return settlement


def _bounded(amount: int, most: int = MAX_TOKENS) -> int:
    return max(0, min(amount, most))


def _booked(usage: Usage, nano_usd: int) -> tuple[int, ...]:
    """Return a usage as the scripts' arguments."""
    counts = (usage.prompt_tokens - usage.cached_tokens, usage.cached_tokens, usage.completion_tokens)
    return (*map(_bounded, counts), _bounded(nano_usd, MAX_CALL_NANO_USD), int(usage.estimated))


def _us(seconds: float) -> int:
    return int(1_000_000 * seconds)
