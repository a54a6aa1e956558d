"""Where the backend that was asked fails before anything of its answer was told, another answers in its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.backends.upstream import Upstream
from app.comparison.shadow import Shadow
from app.completions.request import RequestOptions
from app.contract.completion import BackendName
from app.errors import BackendError, Overloaded, UnparsedAnswer
from app.recommend import Answered, Question, narrate, recommend
from app.recommendation import Assignment
from app.resources import Resources
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

Fault = BackendError | Overloaded


@dataclass(frozen=True)
class Route:
    """The backend to ask, and the one to ask should that fail, if the client wants one."""

    first: Upstream
    fallback: Upstream | None = None
    second: Upstream | None = None
    """Of a cascade, the backend that answers where the first is not sure."""
    assignment: Assignment | None = None
    """The experiment that chose it."""

    @property
    def certain(self) -> bool:
        """Whether it is known beforehand who answers, if anybody does."""
        return self.fallback is None and self.second is None


@dataclass(frozen=True)
class AnswerStrategy:
    """One question on its way; each backend that is asked keeps to its own limits, and all to one deadline.

    `asked` tells which backend has it; the shadow, if there is one, hears of the first's answers. What the one that
    failed used up is booked as ever; an answer that is none is no such failure, since the model was there and has been
    paid for.
    """

    question: Question
    route: Route
    terms: RequestOptions
    resources: Resources
    watch: RequestTimer
    asked: RequestObservation
    shadow: Shadow | None = None

    async def recommend(self) -> Answered:
        """As `app.recommend.recommend`; where both backends fail, what the second raises."""
        own_s = self.watch.read()[1]
        try:
            answered = await recommend(self.question, self.route.first, self.terms, self.resources, self.watch)
            return self._first_answered(answered)
        except (BackendError, Overloaded) as fault:
            fallback = self._instead(fault)
            if fallback is None:
                raise
            self._turn(fault, fallback, own_s)
        answered = await recommend(self.question, fallback, self.terms, self.resources, self.watch)
        return self._marked(answered, fallback_from=self.route.first.name)

    async def narrate(self) -> AsyncGenerator[str | Answered, None]:
        """As `app.recommend.narrate`; once a piece was told, nobody takes over."""
        own_s, told = self.watch.read()[1], False
        try:
            async with aclosing(self._narrated(self.route.first)) as pieces:
                async for piece in pieces:
                    told = True
                    yield piece if isinstance(piece, str) else self._first_answered(piece)
            return
        except (BackendError, Overloaded) as fault:
            fallback = None if told else self._instead(fault)
            if fallback is None:
                raise
            self._turn(fault, fallback, own_s)
        async with aclosing(self._narrated(fallback)) as pieces:
            async for piece in pieces:
                yield piece if isinstance(piece, str) else self._marked(piece, fallback_from=self.route.first.name)

    def _narrated(self, upstream: Upstream) -> AsyncGenerator[str | Answered, None]:
        return narrate(self.question, upstream, self.terms, self.resources, self.watch)

    def _instead(self, fault: Fault) -> Upstream | None:
        if isinstance(fault, UnparsedAnswer) or self.terms.deadline.passed:
            return None
        return self.route.fallback

    def _turn(self, fault: Fault, fallback: Upstream, own_s: float) -> None:
        """Count the failure as the first backend's; the time since then was spent waiting for that."""
        self.watch.waited(self.watch.read()[1] - own_s)
        self.resources.collectors.hand_over(self.asked, fault, fallback.name)

    def _first_answered(self, answered: Answered) -> Answered:
        if self.shadow is not None:
            self.shadow.offer(self.question, answered, self.route.first, self.terms)
        return self._marked(answered)

    def _marked(self, answered: Answered, fallback_from: BackendName | None = None) -> Answered:
        assignment = self.route.assignment
        if assignment is None and fallback_from is None:
            return answered
        marked = replace(answered.recommendation, experiment=assignment, fallback_from=fallback_from)
        return replace(answered, recommendation=marked)
