"""Writing the decision log: threads store batches of a bounded queue off the request path."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, SQLAlchemyError

from app.auth.principal import Principal
from app.decision_log.queue import BATCH, Pending, Queue, answers
from app.decision_log.tables import Row, create, microseconds, row, write
from app.decision_log.threads import in_thread
from app.errors import DecisionLogUnavailable
from app.recommendation import Recommendation
from app.telemetry.labels import DecisionLogResult
from app.telemetry.metrics import Collectors

RETRY_S = 1.0
TIMEOUT_S = 5.0
"""For a write that a request waits for, and for the last writes of a gateway that stops."""

log = logging.getLogger(__name__)


class Writer:
    """Stores answers in batches, in the order of their arrival. Needs a running event loop.

    If the database fails, the batch is tried again every `RETRY_S`, and answers that find the queue full are dropped.
    In required mode its requests are refused instead, and all others until the database takes a write again.
    """

    def __init__(self, engine: Engine, days: int, collectors: Collectors, *, required: bool) -> None:
        self.problem: str | None = "the database is being opened" if required else None
        """Why the database takes no entries; None if it does."""
        self._engine, self._kept, self._required = engine, timedelta(days=days), required
        self._counted = collectors.decision_log
        self._queue = Queue(1 if required else BATCH)
        self._batch: Sequence[Pending] | None = None  # being written
        self._failing = self._full = self._created = False
        self._running = asyncio.create_task(self._run())

    def require(self) -> None:
        """Raise `DecisionLogUnavailable` in required mode if an answer could not be stored now."""
        if self._required and (self.problem or self._queue.full):
            raise DecisionLogUnavailable(f"the decision log takes no entries: {self.problem or 'its queue is full'}")

    async def record(self, answer: Recommendation, principal: Principal) -> None:
        """Queue the answer; in required mode wait until it is stored. Raises `DecisionLogUnavailable` in that mode."""
        self.require()
        if self._queue.full:
            self._overflow()
        elif self._required:
            await self._put(answer, principal)
        else:
            self._queue.add(Pending(answer, principal))

    async def flush(self) -> None:
        """Return once there is a table with all answers that are queued now. Raises `DecisionLogUnavailable`."""
        if self._queue or self._batch is not None or not self._created:
            await self._put()

    async def close(self) -> None:
        """Store what is queued; what cannot be stored within `TIMEOUT_S` is dropped and counted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                while self._unstored or (self._batch is not None and not self._failing):
                    self._queue.wake()
                    await asyncio.sleep(0.01)
        self._running.cancel()
        await asyncio.wait((self._running,))
        if lost := self._unstored:
            self._count("dropped", lost)
            log.error("the decision log lost %d entries when the gateway stopped", lost)

    @property
    def _unstored(self) -> int:
        return answers((*(self._batch or ()), *self._queue))

    async def _put(self, answer: Recommendation | None = None, principal: Principal | None = None) -> None:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.add(Pending(answer, principal, stored))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await stored
        except TimeoutError:
            self.problem = f"no write within {TIMEOUT_S:g} s"
            raise DecisionLogUnavailable(f"the decision log takes no entries: {self.problem}") from None

    async def _run(self) -> None:
        while True:
            await self._store(self._queue.take())
            await self._queue.wait()

    async def _store(self, batch: Sequence[Pending]) -> None:
        """Store the batch, however often it takes."""
        while True:
            self._batch = batch
            try:
                await in_thread(partial(self._write, batch))
            except Exception as error:  # noqa: BLE001 - logged; without this task no answer would be stored again
                self._fail(error)
                batch = self._undo(batch, error)
                await asyncio.sleep(RETRY_S)
            else:
                self._succeed(batch)
                self._batch = None
                return

    def _write(self, batch: Sequence[Pending]) -> None:
        """Write the batch, in a thread."""
        if not self._created:
            create(self._engine)
            self._created = True
        rows: list[Row] = [row(each.answer, each.principal) for each in batch if each.answer and each.principal]
        write(self._engine, rows, microseconds(datetime.now(UTC) - self._kept))

    def _undo(self, batch: Sequence[Pending], error: Exception) -> Sequence[Pending]:
        """Return what to try again: the batch, unless its requests are refused or its content is at fault."""
        self._created = False
        if self._required:
            batch = (*batch, *self._queue.take(len(self._queue)))
        refused = DecisionLogUnavailable(f"the decision log takes no entries: {self.problem}")
        for each in batch:
            if each.stored and not each.stored.done():
                each.stored.set_exception(refused)
        if not self._required and isinstance(error, SQLAlchemyError) and not isinstance(error, DataError):
            return [each for each in batch if each.stored is None]
        self._count("dropped", answers(batch))
        return ()

    def _fail(self, error: Exception) -> None:
        """Keep the kind of the error, which clients see, and log it once."""
        self.problem = type(error).__name__
        if not self._failing:
            unexpected = None if isinstance(error, SQLAlchemyError) else error
            cause = getattr(error, "orig", None)
            log.warning("the decision log takes no entries: %s: %s", self.problem, cause, exc_info=unexpected)
        self._failing = True

    def _succeed(self, batch: Sequence[Pending]) -> None:
        if self._failing:
            log.warning("the decision log takes entries again")
        self._failing, self.problem, self._full = False, None, self._full and bool(self._queue)
        self._count("stored", answers(batch))
        for each in batch:
            if each.stored and not each.stored.done():
                each.stored.set_result(None)

    def _overflow(self) -> None:
        self._count("dropped", 1)
        if not self._full:
            log.warning("the decision log drops entries: %d wait to be stored", len(self._queue))
        self._full = True

    def _count(self, result: DecisionLogResult, entries: int) -> None:
        self._counted[result].inc(entries)
