"""A model's answer to a prompt: from the cache, from a call that another request makes, or from a call paid for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from pydantic import TypeAdapter

from app.completions.request import Asking, Awaited, Inquiry, Known, Made
from app.completions.retry import MOST, Attempts
from app.backends.base import NOTHING, Completion
from app.accounting.reservations import Booking, Bookings, Share
from app.contract.recommendation import ANSWER_TOKENS, parse
from app.deadline import Deadline
from app.errors import (
    BackendError,
    BackendUnavailable,
    ConvictionError,
    DeadlineExceeded,
    Overloaded,
    StoreUnavailable,
    UnparsedAnswer,
)
from app.completions.single_flight import Flight, Flights
from app.telemetry.metrics import CacheResult, Collectors
from app.accounting.admission import Admission, Hit, Join, Lead
from app.stores.shared_calls import Following, Landing
from app.accounting.limit_status import Standing

COMPLETION = TypeAdapter(Completion)
TOLD = {
    error.code: error
    for error in (BackendError, UnparsedAnswer, BackendUnavailable, DeadlineExceeded, Overloaded, StoreUnavailable)
}
"""What those who follow a call can be told went wrong with it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """Seconds for which an answer may be given again, and which a call may take."""

    answer_s: float
    call_s: float


class Broker:
    """Gets answers, each call once however many want it."""

    def __init__(
        self,
        following: Following,
        bookings: Bookings,
        collectors: Collectors,
        patience: Patience,
    ) -> None:
        self._following, self._bookings = following, bookings
        self._collectors, self._patience = collectors, patience
        self._flights: Flights[Made] = Flights()

    @asynccontextmanager
    async def ask(self, inquiry: Inquiry) -> AsyncIterator[Asking]:
        """The answer on its way; whoever leaves the context early gives it up, and with the last the call ends.

        Raises `RateLimited`, `BudgetExceeded`, `Overloaded`, `StoreUnavailable`, and what went wrong elsewhere with a
        call that is shared.
        """
        if not (inquiry.terms.alone or inquiry.lane.gate.full):
            await inquiry.lane.backend.identify()  # so that the first requests share, too
        async with AsyncExitStack() as stack:
            counted = False
            while True:
                admission = await self._admit(inquiry, counted)
                asking = await self._take(inquiry, admission, stack)
                if asking is not None:
                    break
                counted = True
            yield asking

    async def close(self) -> None:
        """Return once every call has ended and is booked."""
        await self._flights.settled()

    async def _admit(self, inquiry: Inquiry, counted: bool) -> Admission | None:
        """Whoever needs no call needs no place in line; with none left, one who needs one is told so."""
        lane, holder = inquiry.lane, inquiry.terms.holder
        reads = self._patience.answer_s > 0 and not inquiry.terms.fresh
        share = Share(inquiry.key, read_cache=reads, counted=counted)
        if lane.gate.full:
            shared = await self._bookings.share(inquiry.request_id, holder, lane, share)
            if shared is None:
                raise lane.gate.refusal()
            return shared
        estimate = lane.at_most(inquiry.prompt, ANSWER_TOKENS[inquiry.detail], MOST)
        return await self._bookings.admit(inquiry.request_id, holder, lane, estimate, share)

    async def _take(self, inquiry: Inquiry, admission: Admission | None, stack: AsyncExitStack) -> Asking | None:
        """What was admitted; None where a shared call ended without an answer for others, and one is to be made."""
        match admission:
            case Hit(stood, value, age_s):
                return self._counted("hit", Known(inquiry.request_id, _read(value, inquiry), "cache", age_s, stood))
            case Join(stood, leader):
                return await self._join(inquiry, leader, stood, stack)
            case Lead(sent=sent):
                booking, key = self._bookings.open(inquiry.request_id, inquiry.lane, sent), inquiry.key
            case None:
                booking, key = self._bookings.without(inquiry.lane), None
        flight = Flight(lambda flight: self._make(inquiry, flight, booking), lambda: self._deserted(inquiry))
        self._flights.add(key or inquiry.request_id, flight)
        await stack.enter_async_context(flight.joined())
        standing = admission.standing if admission else None
        return self._counted("miss", Awaited(inquiry.request_id, flight, "model", standing))

    async def _join(self, inquiry: Inquiry, leader: str, standing: Standing, stack: AsyncExitStack) -> Asking | None:
        """The answer of a call under way. Its text is heard as it comes where this gateway makes the call; one that
        another makes tells how it ended and nothing before, so that a stream gets all of its text then."""
        flight = self._flights.find(inquiry.key or "")
        if flight is not None:
            stack.push_async_callback(self._following.leave, leader, inquiry.request_id)
            await stack.enter_async_context(flight.joined())
            return self._counted("coalesced", Awaited(inquiry.request_id, flight, "coalesced", standing))
        began = perf_counter()
        landing = await self._following.follow(leader, inquiry.request_id)
        if landing.error is not None:
            error = TOLD.get(landing.error, BackendError)(
                f"{inquiry.lane.name} failed the request that this one shared a call with"
            )
            error.retry_after = landing.retry_after
            raise error
        if landing.value is None:
            return None
        made = _read(landing.value, inquiry).free(perf_counter() - began)
        return self._counted("coalesced", Known(inquiry.request_id, made, "coalesced", None, standing))

    async def _make(
        self, inquiry: Inquiry, flight: Flight[Made], opening: AbstractAsyncContextManager[Booking]
    ) -> Made:
        """Make the call, and book what it took however it ends."""
        lane = inquiry.lane
        attempts = Attempts(lane, inquiry.detail, flight, Deadline.after(self._patience.call_s))
        async with opening as booking:
            try:
                async with lane.gate.entered(booking.sent):
                    await self._bookings.sending(booking, inquiry.terms.holder, lane)
                    answer, completion = await attempts.answer(inquiry.prompt)
            except ConvictionError as error:
                booking.landing = Landing(error=error.code, retry_after=error.retry_after)
                raise
            finally:
                booking.usage = attempts.usage
            # A server that was started anew may have another model than the one that the answer is kept for.
            kept_s = self._patience.answer_s if attempts.asked == inquiry.model else 0.0
            booking.landing = Landing(COMPLETION.dump_json(completion), kept_s)
        return Made(answer, completion, attempts.usage, lane.cost(attempts.usage), attempts.waited_s)

    async def _deserted(self, inquiry: Inquiry) -> None:
        """Return once nobody elsewhere waits for the call, or nobody can tell."""
        if inquiry.key is None:
            return
        try:
            await self._following.deserted(inquiry.request_id)
        except StoreUnavailable as error:
            log.warning("whether others wait for a call cannot be told: %s", error.detail)

    def _counted(self, result: CacheResult, asking: Asking) -> Asking:
        self._collectors.cache[result].inc()
        return asking


def _read(value: bytes, inquiry: Inquiry) -> Made:
    """An answer as another call left it."""
    completion = COMPLETION.validate_json(value)
    answer = parse(inquiry.detail, completion.text)
    return Made(answer, completion, NOTHING, inquiry.lane.cost(NOTHING), 0.0)
