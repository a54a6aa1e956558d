"""Sends a notice when a budget reaches a threshold, off the request path, once a day for all gateways on a store.

Calls note the budgets that they use. Every `INTERVAL_S`, noted budgets are read from the store, and a notice that is
due is claimed there, sent and recorded as sent. A claim that is not followed by that record ends after `CLAIM_S`, so a
gateway that dies while it sends a notice leaves it to the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from redis.exceptions import ResponseError

from app.accounting.admission import Admissions
from app.accounting.budget_notice import Budget, Notice, due
from app.accounting.webhook import Webhook
from app.auth.principal import Principal
from app.backends.upstream import Upstream
from app.errors import StoreUnavailable
from app.settings.budgets import BudgetSettings
from app.stores.pipelined import Pipelined
from app.telemetry.metrics import Collectors

INTERVAL_S = 2.0
MAX_PAUSE_S = 300.0
"""Between attempts while the receiver or the store fails; the pause doubles from `INTERVAL_S`."""
CLAIM_S = 60
"""Longer than an attempt takes."""
SENT_S = 2 * 86400
CAPACITY = 10_000
"""Budgets that wait to be checked."""
BATCH = 100
"""Budgets that the store is asked for in one step."""
CLOSING_S = 5.0

log = logging.getLogger(__name__)

Noted = tuple[Budget, int]
"""A budget, and the most that a refused call could have cost, in nano-dollars; 0 if none was refused."""


class BudgetWatch:
    """Checks noted budgets and sends notices. Needs a running event loop."""

    def __init__(self, admissions: Admissions, store: Pipelined, webhook: Webhook, collectors: Collectors) -> None:
        self._admissions, self._store, self._webhook = admissions, store, webhook
        self._counted = collectors.notices
        self._noted: dict[str, Noted] = {}
        self._closing = asyncio.Event()
        self._running = asyncio.create_task(self._run())

    def note(self, principal: Principal, upstream: Upstream, refused: int = 0) -> None:
        """Note the budgets of a call that was charged, or that was refused and could have cost `refused`."""
        self._note(Budget(principal.scope, key=principal.name), refused)
        self._note(Budget(upstream.scope, backend=upstream.name), refused)

    async def close(self) -> None:
        """Check what is noted once more; what cannot be sent within `CLOSING_S` is dropped and counted."""
        self._closing.set()
        await asyncio.wait((self._running,), timeout=CLOSING_S)
        self._running.cancel()
        await asyncio.wait((self._running,))
        await self._webhook.close()
        if self._noted:
            self._counted["dropped"].inc(len(self._noted))
            log.error("notices of up to %d budgets were not sent when the gateway stopped", len(self._noted))

    def _note(self, budget: Budget, refused: int) -> None:
        name = budget.scope.name
        if not budget.scope.limits.nano_usd_per_day:
            return
        if name not in self._noted and len(self._noted) >= CAPACITY:
            self._counted["dropped"].inc()
            return
        _, earlier = self._noted.get(name, (budget, 0))
        self._noted[name] = budget, max(earlier, refused)

    async def _run(self) -> None:
        pause, last = INTERVAL_S, False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            last = self._closing.is_set()
            pause = INTERVAL_S if await self._check() else min(2 * pause, MAX_PAUSE_S)

    async def _check(self) -> bool:
        """Send the notices that are due. False if they failed, and the budgets are noted again."""
        noted, self._noted = list(self._noted.values()), {}
        done = False
        try:
            done = await self._send_due(noted)
        except (StoreUnavailable, ResponseError) as error:
            log.warning("budgets wait to be checked for notices: %s", error)
        except Exception:
            log.exception("budgets could not be checked for notices")
        finally:
            if not done:
                for each in noted:
                    self._note(*each)
        return done

    async def _send_due(self, noted: Sequence[Noted]) -> bool:
        """Send the budgets' notices until one fails; return whether none did."""
        for start in range(0, len(noted), BATCH):
            batch = noted[start : start + BATCH]
            status = await self._admissions.limit_status([budget.scope for budget, _ in batch])
            for notice in [notice for budget, refused in batch for notice in due(budget, status, refused)]:
                if not await self._send(notice):
                    return False
        return True

    async def _send(self, notice: Notice) -> bool:
        """Send a notice unless a gateway has sent it or is sending it; return False if the receiver fails."""
        key = f"conviction:notice:{notice.id}"
        if await self._store.call("SET", key, "claimed", "NX", "EX", CLAIM_S) is None:
            return True
        problem = await self._webhook.post(notice.body())
        if problem is not None:
            self._counted["failed"].inc()
            log.warning("the webhook failed for a notice, which will be sent again: %s", problem)
            await self._store.call("DEL", key)
            return False
        self._counted["sent"].inc()
        await self._store.call("SET", key, "sent", "EX", SENT_S)
        return True


def open_budget_watch(
    settings: BudgetSettings, admissions: Admissions, store: Pipelined, collectors: Collectors
) -> BudgetWatch | None:
    """Return the watch; None without a webhook."""
    if settings.budget_webhook_url is None:
        return None
    webhook = Webhook(settings.budget_webhook_url, settings.budget_webhook_secret)
    return BudgetWatch(admissions, store, webhook, collectors)
