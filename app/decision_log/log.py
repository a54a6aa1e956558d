"""The decision log of a gateway: records answers as the mode demands, and reads them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.auth.principal import Principal
from app.decision_log.database import log_folder, open_engine
from app.decision_log.feedback import Feedback, add, feedback_on
from app.decision_log.queries import Decision, Position, Selection, find, page
from app.decision_log.threads import in_thread
from app.decision_log.writer import TIMEOUT_S, Writer
from app.errors import Conflict, DecisionLogUnavailable
from app.recommendation import Recommendation
from app.settings.decision_log import DecisionLogSettings
from app.telemetry.metrics import Collectors

CALLS = 4
"""Concurrent reads and writes of feedback, those that timed out included: a database that hangs must not accumulate
threads."""
OFF = "the decision log is off: CONVICTION_DECISION_LOG, CONVICTION_DECISION_LOG_URL and CONVICTION_STORE_DIR decide"

T = TypeVar("T")
log = logging.getLogger(__name__)


class DecisionLog:
    """Records and reads answers; without a writer the log is off."""

    def __init__(self, engine: Engine | None, writer: Writer | None) -> None:
        self._engine, self._writer, self._calls = engine, writer, asyncio.Semaphore(CALLS)

    @property
    def problem(self) -> str | None:
        """Why the log takes no entries; None if it does, or if it is off."""
        return None if self._writer is None else self._writer.problem

    def require(self) -> None:
        """Raise `DecisionLogUnavailable` if an answer needs an entry that could not be stored now."""
        if self._writer is not None:
            self._writer.require()

    async def record(self, answer: Recommendation, principal: Principal) -> None:
        """Record an answer that the principal is about to receive. Raises `DecisionLogUnavailable` as `require`."""
        if self._writer is not None:
            await self._writer.record(answer, principal)

    async def find(self, decision_id: str, principal_id: str | None) -> Decision | None:
        """Return a decision; None if there is none of this id, or if another principal received it.

        Raises `Conflict` if the log is off, and `DecisionLogUnavailable`.
        """
        return await self._call(lambda engine: find(engine, decision_id, principal_id))

    async def page(self, selection: Selection, before: Position | None, limit: int) -> Sequence[Decision]:
        """Return up to `limit` decisions made before a position, the newest first. Raises as `find`."""
        return await self._call(lambda engine: page(engine, selection, before, limit))

    async def feedback_on(self, decision_id: str) -> Sequence[Feedback]:
        """Return the feedback on a decision, the oldest first. Raises as `find`."""
        return await self._call(lambda engine: feedback_on(engine, decision_id))

    async def add_feedback(self, feedback: Feedback) -> Feedback | None:
        """Store feedback; return what is stored of this principal and kind, or None without the decision.

        Raises as `find`.
        """
        return await self._call(lambda engine: add(engine, feedback))

    async def _call(self, query: Callable[[Engine], T]) -> T:
        """Return the result of a query, which finds what this gateway has recorded before."""
        if self._engine is None or self._writer is None:
            raise Conflict(OFF)
        if self._writer.problem is None:
            with suppress(DecisionLogUnavailable):  # what is stored can still be read
                await self._writer.flush()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._calls.acquire()
                calling = in_thread(partial(query, self._engine))
                calling.add_done_callback(self._release)
                return await asyncio.shield(calling)
        except TimeoutError:
            raise DecisionLogUnavailable(f"the decision log did not answer within {TIMEOUT_S:g} s") from None
        except SQLAlchemyError as error:
            log.warning("the decision log cannot be used: %s", getattr(error, "orig", None))
            raise DecisionLogUnavailable(f"the decision log cannot be used: {type(error).__name__}") from None

    def _release(self, call: asyncio.Future[T]) -> None:
        self._calls.release()
        call.exception()  # of a call that timed out, nothing else retrieves it


@asynccontextmanager
async def open_decision_log(settings: DecisionLogSettings, collectors: Collectors) -> AsyncIterator[DecisionLog]:
    """Yield the log; the database need not be reachable yet. Raises `InvalidSettings` for an unusable folder."""
    with log_folder(settings) as folder:
        engine = open_engine(settings, folder)
        if engine is None:
            if settings.decision_log != "off":
                log.info("recommendations are not logged: set CONVICTION_DECISION_LOG_URL or CONVICTION_STORE_DIR")
            yield DecisionLog(None, None)
            return
        required = settings.decision_log == "required"
        writer = Writer(engine, settings.decision_log_days, collectors, required=required)
        try:
            yield DecisionLog(engine, writer)
        finally:
            await writer.close()
            await asyncio.wait((in_thread(engine.dispose),), timeout=TIMEOUT_S)
