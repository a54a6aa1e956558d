"""What is left of the backends' limits."""

from __future__ import annotations

from collections.abc import Iterable

from app.accounting.admission import Admissions
from app.backends.upstream import Upstream
from app.errors import StoreUnavailable
from app.pricing.limits import NO_LIMITS
from app.pricing.prices import NANO
from app.telemetry.metrics import Collectors


class BackendLimits:
    """Reads how far the store's counters are from the backends' limits."""

    def __init__(self, admissions: Admissions, collectors: Collectors) -> None:
        self._admissions, self._budget_used = admissions, collectors.budget_used

    async def observe(self, upstreams: Iterable[Upstream]) -> None:
        """Set the gauges of used budgets; they keep their values while the store is unavailable."""
        limited = [upstream for upstream in upstreams if upstream.scope.limits.nano_usd_per_day is not None]
        if not limited:
            return
        try:
            limit_status = await self._admissions.limit_status([upstream.scope for upstream in limited])
        except StoreUnavailable:
            return
        for upstream in limited:
            used = limit_status.used_nano_usd(upstream.scope.name) / NANO
            self._budget_used.labels(upstream.name).set(used)

    async def spare(self, upstream: Upstream) -> bool:
        """Return whether more than half of each of the backend's limits is left. Raises `StoreUnavailable`."""
        if upstream.scope.limits == NO_LIMITS:
            return True
        limit_status = await self._admissions.limit_status([upstream.scope])
        return all(2 * window.remaining > window.limit for window in limit_status.windows())
