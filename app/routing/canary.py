"""A canary: the candidate gets a share of the requests, which rises in steps, and none once a bound is broken.

All gateways add what they counted to one step in Redis, once a second, and look whether it has ended. Whichever finds
it first sets the next state, on the condition that the state is still the one it looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.comparison.pairs import Pair
from app.contract.completion import CANDIDATE, INCUMBENT, BackendName
from app.contract.prompt import Detail
from app.errors import BackendError, Conflict, ConvictionError, DeadlineExceeded, Overloaded, StoreUnavailable
from app.recommend import Answer
from app.routing.canary_policy import CanaryCheck, checks, error_field, latency_field, verdict
from app.routing.canary_store import CanaryStore, Snapshot, State
from app.routing.experiments import BUCKETS, CANARY, bucket_of
from app.settings.canary import CanarySettings
from app.telemetry.labels import CanaryPhase
from app.telemetry.metrics import Collectors

INTERVAL_S = 1.0
"""The time between two looks at the shared state."""

log = logging.getLogger(__name__)


class Canary:
    """This gateway's part in the canary: it assigns requests, counts what becomes of them, and decides."""

    def __init__(self, store: CanaryStore, settings: CanarySettings, collectors: Collectors) -> None:
        self._store, self._settings, self._collectors = store, settings, collectors
        self.state = State()
        """As this gateway last read it."""
        self._counts: Counter[str] = Counter()

    @property
    def steps(self) -> tuple[float, ...]:
        """Percent of the requests in each step."""
        return self._settings.canary_steps

    def assign(self, subject: str) -> BackendName:
        """Return the backend of a subject; one that has the candidate keeps it while the share rises."""
        return CANDIDATE if bucket_of(CANARY, subject) < self.state.share / 100 * BUCKETS else INCUMBENT

    def observe(self, backend: BackendName, detail: Detail, outcome: Answer | ConvictionError, ms: float) -> None:
        """Count the outcome of a call after `ms` milliseconds, once where requests share the call. An answer that came
        too late counts as slow, since the client chooses the deadline."""
        if isinstance(outcome, Answer):
            if outcome.recommendation.source == "model":
                self._counts[latency_field(backend, detail, outcome.recommendation.timing.total_ms)] += 1
        elif outcome.shared:
            return
        elif isinstance(outcome, DeadlineExceeded):
            self._counts[latency_field(backend, detail, ms)] += 1
        elif isinstance(outcome, BackendError | Overloaded):
            self._counts[error_field(backend)] += 1

    def observe_pair(self, pair: Pair) -> None:
        """Count a question that both answered."""
        if set(pair.sides) == {CANDIDATE, INCUMBENT} and pair.agree is not None:
            self._counts.update({"pairs": 1, "agreed": int(pair.agree)})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take part within the block."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def look(self) -> Snapshot:
        """Add what was counted since the last look, and set the next state if the step has ended.

        Raises `StoreUnavailable`; the counts are then added at the next look, twice if only the reply was lost.
        """
        snapshot = await self._report()
        state = snapshot.state
        if not state.active:
            return snapshot
        found = await self.checks(snapshot)
        match verdict(found):
            case "roll_back":
                reasons = [f"{each.name}: {each.value:.4g}, bound {each.bound:g}" for each in found if each.broken]
                await self._move(state, "rolled_back", 0, 0.0, "; ".join(reasons))
            case "advance" if snapshot.elapsed_s >= self._settings.canary_min_s:
                await self._advance(state)
            case _:
                return snapshot
        return await self._report()

    async def checks(self, snapshot: Snapshot) -> Sequence[CanaryCheck]:
        """Return the state of each bound in the step, computed in a thread; none where no canary assigns requests."""
        return await asyncio.to_thread(checks, snapshot.counts, self._settings) if snapshot.state.active else ()

    async def start(self) -> Snapshot:
        """Begin with the first step, or continue after a pause. Raises `Conflict` if it runs."""
        state = (await self.look()).state
        if state.phase == "running":
            raise Conflict(f"the canary runs, at {state.share:g}%")
        if state.phase == "paused":
            return await self._command(state, "running", state.step, state.share)
        return await self._command(state, "running", 0, self.steps[0])

    async def pause(self) -> Snapshot:
        """Keep the share until the next start. Raises `Conflict` unless it runs."""
        state = (await self.look()).state
        if state.phase != "running":
            raise Conflict("the canary does not run")
        return await self._command(state, "paused", state.step, state.share)

    async def roll_back(self) -> Snapshot:
        """Give all requests to the incumbent. Raises `Conflict` if they are."""
        state = (await self.look()).state
        if not state.active:
            raise Conflict("the canary does not run")
        return await self._command(state, "rolled_back", 0, 0.0)

    async def _advance(self, state: State) -> None:
        """Take the next step. Where there is none, begin to count again: what was counted long ago says little."""
        step = state.step + 1
        if state.phase == "paused" or step >= len(self.steps):
            await self._move(state, state.phase, state.step, state.share, state.reason)
        else:
            await self._move(state, "running", step, self.steps[step], "all bounds were kept")

    async def _command(self, state: State, phase: CanaryPhase, step: int, share: float) -> Snapshot:
        if not await self._move(state, phase, step, share, "an admin's request"):
            raise Conflict("the canary has changed at the same moment; read its state and repeat the request")
        return await self._report()

    async def _move(self, state: State, phase: CanaryPhase, step: int, share: float, reason: str) -> bool:
        moved = await self._store.move(state.version, phase, step, share, reason)
        if moved and (phase, share) != (state.phase, state.share):
            level = logging.WARNING if phase == "rolled_back" else logging.INFO
            log.log(level, "canary %s, from %g%% to %g%%: %s", phase, state.share, share, reason)
        return moved

    async def _report(self) -> Snapshot:
        counts, self._counts = self._counts, Counter()
        try:
            snapshot = await self._store.report(self.state.version, counts)
        except BaseException:
            self._counts.update(counts)
            raise
        self.state = snapshot.state
        self._collectors.show_canary(self.state.phase, self.state.share / 100)
        return snapshot

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except StoreUnavailable:
                self._collectors.store_errors.labels(CANARY).inc()
            except Exception:
                log.exception("the canary could not be judged")
            await asyncio.sleep(INTERVAL_S)
