"""Where the backend that was observation fails before anything of its answer was told, another answers in its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.backends.upstream import Upstream
from app.comparison.shadow import Shadow
from app.completions.request import RequestOptions
from app.contract.completion import BackendName
from app.errors import BackendError, Overloaded, UnparsedAnswer
from app.recommend import Answered, Question, Recommender, Reply
from app.recommendation import Assignment
from app.telemetry.metrics import Collectors, RequestObservation
from app.telemetry.request_timer import RequestTimer

Fault = BackendError | Overloaded


@dataclass(frozen=True)
class Route:
    """The backend to ask, and the one to ask should that fail, if the client wants one."""

    first: Upstream
    fallback: Upstream | None = None
    second: Upstream | None = None
    """Of a cascade, the backend that answers where the first is not sure."""
    threshold: float = 0.0
    """Of a cascade, the probability below which the first backend's answer is passed on."""
    assignment: Assignment | None = None
    """The experiment that chose it."""

    @property
    def certain(self) -> bool:
        """Whether it is known beforehand who answers, if anybody does."""
        return self.fallback is None and self.second is None


@dataclass(frozen=True)
class AnswerStrategy:
    """One question on its way; each backend that is observation keeps to its own limits, and all to one deadline.

    `observation` tells which backend has it; the shadow, if there is one, hears of the first's answers. What the one that
    failed used up is booked as ever; an answer that is none is no such failure, since the model was there and has been
    paid for.
    """

    question: Question
    route: Route
    options: RequestOptions
    recommender: Recommender
    collectors: Collectors
    timer: RequestTimer
    observation: RequestObservation
    shadow: Shadow | None = None

    async def recommend(self) -> Answered:
        """Return the first backend's answer, or the fallback's; where both fail, raise what the second raised."""
        own_s = self.timer.read()[1]
        try:
            return self._first_answered(await self._ask(self.route.first))
        except (BackendError, Overloaded) as fault:
            fallback = self._instead(fault)
            if fallback is None:
                raise
            self._turn(fault, fallback, own_s)
        return self._marked((await self._ask(fallback)).answered(self.timer), fallback_from=self.route.first.name)

    async def stream(self) -> AsyncGenerator[str | Answered, None]:
        """Yield the analysis in pieces, then the answer; once a piece was sent, no other backend takes over."""
        own_s, sent = self.timer.read()[1], False
        try:
            async with aclosing(self._stream(self.route.first)) as pieces:
                async for piece in pieces:
                    sent = True
                    yield piece if isinstance(piece, str) else self._first_answered(piece)
            return
        except (BackendError, Overloaded) as fault:
            fallback = None if sent else self._instead(fault)
            if fallback is None:
                raise
            self._turn(fault, fallback, own_s)
        async with aclosing(self._stream(fallback)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece
                else:
                    yield self._marked(piece.answered(self.timer), fallback_from=self.route.first.name)

    async def _ask(self, upstream: Upstream) -> Reply:
        return await self.recommender.ask(self.question, upstream, self.options, self.timer)

    def _stream(self, upstream: Upstream) -> AsyncGenerator[str | Reply, None]:
        return self.recommender.stream(self.question, upstream, self.options, self.timer)

    def _instead(self, fault: Fault) -> Upstream | None:
        if isinstance(fault, UnparsedAnswer) or self.options.deadline.passed:
            return None
        return self.route.fallback

    def _turn(self, fault: Fault, fallback: Upstream, own_s: float) -> None:
        """Count the failure as the first backend's; the time since then was spent waiting for that."""
        self.timer.add_waiting(self.timer.read()[1] - own_s)
        self.collectors.record_fallback(self.observation, fault, fallback.name)

    def _first_answered(self, reply: Reply) -> Answered:
        answered = reply.answered(self.timer)
        if self.shadow is not None:
            self.shadow.offer(self.question, answered, self.route.first, self.options)
        return self._marked(answered)

    def _marked(self, answered: Answered, fallback_from: BackendName | None = None) -> Answered:
        assignment = self.route.assignment
        if assignment is None and fallback_from is None:
            return answered
        marked = replace(answered.recommendation, experiment=assignment, fallback_from=fallback_from)
        return replace(answered, recommendation=marked)
