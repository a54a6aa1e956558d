"""Shadow copies: what one backend has answered is asked of the other too, later, to be compared; nobody waits for it.

Copies have a budget of their own and give way first: none is begun while a backend or the gateway itself is busy, or
where the backend's own limits are more than half used up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.accounting.reservations import Reservations
from app.auth.principal import Principal, may_use
from app.backends.upstream import Upstream
from app.comparison.compare import cited_figures, keep, side
from app.comparison.pair_store import Comparisons
from app.comparison.pairs import Pair
from app.completions.request import RequestOptions
from app.contract.completion import BackendName
from app.deadline import Deadline
from app.errors import ConvictionError, Overloaded, RequestError, StoreUnavailable, foreseen
from app.pricing.limits import Limits
from app.pricing.prices import NANO
from app.recommend import Answered, Question, Recommender
from app.recommendation import Recommendation
from app.settings.gateway import Settings
from app.telemetry.metrics import Collectors, ShadowResult
from app.telemetry.request_timer import RequestTimer

AFTER_S = 0.02
"""From an answer to its copy, so that the answer is on its way before."""
LATE_S = 0.01
"""A copy whose turn comes so much too late finds the gateway busy."""
MOST = 8
"""Copies at a time, those that wait for their turn among them."""
NAME = "shadow"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """An answer, and the backend that is to be asked the same."""

    question: Question
    answer: Recommendation
    upstream: Upstream
    other: Upstream


class Shadow:
    """Copies a fraction of what backends answer; lives where an event loop runs."""

    def __init__(
        self,
        settings: Settings,
        recommender: Recommender,
        upstreams: Mapping[BackendName, Upstream],
        reservations: Reservations,
        comparisons: Comparisons,
        collectors: Collectors,
    ) -> None:
        self._recommender, self._upstreams, self._reservations = recommender, upstreams, reservations
        self._comparisons, self._collectors, self._timeout_s = comparisons, collectors, settings.backend_timeout_s
        self._fraction = settings.shadow_fraction
        limits = Limits(nano_usd_per_day=int(settings.shadow_usd_per_day * NANO))
        self._principal = Principal(NAME, NAME, None, False, limits)
        self._waiting: set[asyncio.TimerHandle] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    def offer(self, question: Question, answered: Answered, upstream: Upstream, options: RequestOptions) -> None:
        """Have the other backend asked the same, if the answer is among those to be copied.

        Not those from the cache, those that nothing may be kept of, and those of keys that may not ask the other.
        """
        answer = answered.recommendation
        if not _chosen(answer.id, self._fraction) or answer.source != "model" or options.alone:
            return
        (other,) = (each for each in self._upstreams.values() if each is not upstream)
        if other.price is None or not may_use(options.principal, other.name):
            return
        if self._busy(upstream, other) or len(self._waiting) + len(self._under_way) >= MOST:
            self._count("shed")
            return
        seen = replace(question, metrics=answer.metrics, source=answer.metrics_source)
        self._wait(Copy(seen, answer, upstream, other))

    async def close(self) -> None:
        """Give up what waits and what is under way; that is billed for what it has used."""
        self._fraction = 0.0
        for handle in self._waiting:
            handle.cancel()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _wait(self, copy: Copy) -> None:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._waiting.discard(handle)
            if loop.time() > handle.when() + LATE_S or self._busy(copy.upstream, copy.other):
                self._count("shed")
                return
            task = loop.create_task(self._copy(copy))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        handle = loop.call_later(AFTER_S, begin)
        self._waiting.add(handle)

    async def _copy(self, copy: Copy) -> None:
        try:
            self._count(await self._compared(copy))
        except StoreUnavailable:
            self._count("refused")
        except Exception:
            log.exception("a shadow copy failed")
            self._count("lost")

    async def _compared(self, copy: Copy) -> ShadowResult:
        """Ask the other backend, and keep the two answers. A copy that a limit refuses leaves no pair."""
        if not await self._reservations.spare(copy.other):
            return "shed"
        outcome = await self._asked(copy)
        if isinstance(outcome, RequestError | Overloaded | StoreUnavailable):
            return "refused"
        kept = await keep(_pair(copy, outcome), self._comparisons, self._collectors)
        return "stored" if kept else "lost"

    async def _asked(self, copy: Copy) -> Recommendation | ConvictionError:
        deadline, timer = Deadline.after(self._timeout_s), RequestTimer()
        options = RequestOptions(self._principal, deadline, alone=True)
        try:
            return (await self._recommender.ask(copy.question, copy.other, options, timer)).recommendation(timer)
        except Exception as error:  # noqa: BLE001 - logged where nobody thought of it, and kept as how it ended
            return foreseen(error)

    def _busy(self, *upstreams: Upstream) -> bool:
        return any(upstream.concurrency.half_full for upstream in upstreams)

    def _count(self, result: ShadowResult) -> None:
        self._collectors.shadow[result].inc()


def _chosen(recommendation: str, fraction: float) -> bool:
    """Whether an id, which is random to its last digit, is among the fraction."""
    return int(recommendation[-8:], 16) < fraction * 2**32


def _pair(copy: Copy, outcome: Recommendation | ConvictionError) -> Pair:
    answer, outcomes = copy.answer, {copy.upstream.name: copy.answer, copy.other.name: outcome}
    return Pair(
        id=answer.id.removeprefix("rec_"),
        at=answer.created_at,
        ticker=answer.ticker,
        as_of=answer.as_of,
        detail=copy.question.detail,
        origin="shadow",
        sides={name: side(each, cited_figures(each)) for name, each in outcomes.items()},
    )
