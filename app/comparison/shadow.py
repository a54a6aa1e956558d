"""Shadow copies: a fraction of the answered questions is sent to another backend in the background, for comparison:
mistral's to gpt-4, and those of gpt-4 and of a candidate to mistral.

Copies have a separate budget and yield to requests: no copy starts while a backend or the gateway is busy, or once the
backend's limits are more than half used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.accounting.backend_limits import BackendLimits
from app.auth.principal import Principal, may_use
from app.backends.upstream import Upstream
from app.comparison.compare import cited_figures, side, store_pair
from app.comparison.pair_store import Comparisons
from app.comparison.pairs import Pair
from app.completions.request import RequestOptions
from app.contract.completion import BACKEND_NAMES, CANDIDATE, INCUMBENT, BackendName
from app.deadline import Deadline
from app.errors import ConvictionError, Overloaded, RequestError, StoreUnavailable, client_error
from app.pricing.limits import Limits
from app.pricing.prices import NANO
from app.recommend import Question, Recommender
from app.recommendation import Recommendation
from app.settings.gateway import Settings
from app.telemetry.labels import ShadowResult
from app.telemetry.metrics import Collectors
from app.telemetry.request_timer import RequestTimer

DELAY_S = 0.02
"""The delay after an answer, so that the answer is sent first."""
MAX_LAG_S = 0.01
"""If the timer of a copy fires later than this, the gateway is busy."""
MAX_COPIES = 8
"""Concurrent copies, including those that wait for their delay."""
NAME = "shadow"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """An answer, and the backend that receives the same question."""

    question: Question
    answer: Recommendation
    upstream: Upstream
    other: Upstream


class Shadow:
    """Copies a fraction of the answered questions; `on_pair` is called with each pair. Needs a running event loop."""

    def __init__(
        self,
        settings: Settings,
        recommender: Recommender,
        upstreams: Mapping[BackendName, Upstream],
        limits: BackendLimits,
        comparisons: Comparisons,
        collectors: Collectors,
        on_pair: Callable[[Pair], None] = lambda _: None,
    ) -> None:
        self._recommender, self._upstreams, self._limits = recommender, upstreams, limits
        self._comparisons, self._collectors, self._timeout_s = comparisons, collectors, settings.backend_timeout_s
        self._on_pair = on_pair
        self._fractions = dict.fromkeys(BACKEND_NAMES, settings.shadow_fraction)
        self._fractions[CANDIDATE] = settings.candidate_shadow_fraction
        budget = Limits(nano_usd_per_day=int(settings.shadow_usd_per_day * NANO))
        self._principal = Principal(NAME, NAME, None, False, budget)
        self._waiting: set[asyncio.TimerHandle] = set()
        self._running: set[asyncio.Task[None]] = set()

    def offer(self, question: Question, answer: Recommendation, upstream: Upstream, options: RequestOptions) -> None:
        """Schedule a copy to the other backend if the answer is in the sampled fraction.

        Answers from the cache, of `no-store` requests and of keys that may not ask the other backend are not copied.
        """
        fraction = self._fractions.get(upstream.name, 0.0)
        if not _sampled(answer.id, fraction) or answer.source != "model" or options.alone:
            return
        other = self._upstreams["gpt-4" if upstream.name == INCUMBENT else INCUMBENT]
        if other.price is None or not may_use(options.principal, other.name):
            return
        if self._busy(upstream, other) or len(self._waiting) + len(self._running) >= MAX_COPIES:
            self._count("shed")
            return
        complete = replace(question, metrics=answer.metrics, source=answer.metrics_source)
        self._schedule(Copy(complete, answer, upstream, other))

    async def close(self) -> None:
        """Cancel waiting and running copies; the tokens that they have used are charged."""
        self._fractions = {}
        for handle in self._waiting:
            handle.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _schedule(self, copy: Copy) -> None:
        loop = asyncio.get_running_loop()

        def start() -> None:
            self._waiting.discard(handle)
            if loop.time() > handle.when() + MAX_LAG_S or self._busy(copy.upstream, copy.other):
                self._count("shed")
                return
            task = loop.create_task(self._copy(copy))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        handle = loop.call_later(DELAY_S, start)
        self._waiting.add(handle)

    async def _copy(self, copy: Copy) -> None:
        try:
            self._count(await self._compare(copy))
        except StoreUnavailable:
            self._count("refused")
        except Exception:
            log.exception("a shadow copy failed")
            self._count("lost")

    async def _compare(self, copy: Copy) -> ShadowResult:
        """Ask the other backend and store the pair. A copy that a limit refuses leaves no pair."""
        if not await self._limits.spare(copy.other):
            return "shed"
        outcome = await self._ask(copy)
        if isinstance(outcome, RequestError | Overloaded | StoreUnavailable):
            return "refused"
        pair = _pair(copy, outcome)
        self._on_pair(pair)
        stored = await store_pair(pair, self._comparisons, self._collectors)
        return "stored" if stored else "lost"

    async def _ask(self, copy: Copy) -> Recommendation | ConvictionError:
        options = RequestOptions(self._principal, Deadline.after(self._timeout_s), alone=True)
        try:
            return (await self._recommender.ask(copy.question, copy.other, options, RequestTimer())).recommendation
        except Exception as error:  # noqa: BLE001 - stored in the pair, and logged if unexpected
            return client_error(error)

    def _busy(self, *upstreams: Upstream) -> bool:
        return any(upstream.concurrency.half_full for upstream in upstreams)

    def _count(self, result: ShadowResult) -> None:
        self._collectors.shadow[result].inc()


def _sampled(recommendation_id: str, fraction: float) -> bool:
    """Sample by the id's last 32 bits, which are random."""
    return int(recommendation_id[-8:], 16) < fraction * 2**32


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
        blind=answer.blind,
    )
