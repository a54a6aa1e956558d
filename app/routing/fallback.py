"""Answers a question with the first backend of a route; if that fails before it sent anything, the fallback answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.backends.upstream import Upstream
from app.comparison.shadow import Shadow
from app.completions.request import RequestOptions
from app.contract.completion import BackendName
from app.errors import BackendError, ConvictionError, Overloaded, UnparsedAnswer
from app.recommend import Answer, Part, Question, Recommender, count_answer
from app.recommendation import Assignment
from app.routing.canary import Canary
from app.telemetry.metrics import Collectors, RequestObservation
from app.telemetry.request_timer import RequestTimer


@dataclass(frozen=True)
class Route:
    """The backend to ask, and the fallback if the client named one."""

    first: Upstream
    fallback: Upstream | None = None
    second: Upstream | None = None
    """The backend that a cascade asks when the first is not sure enough, or the incumbent of a trial."""
    threshold: float = 0.0
    """The probability below which a cascade asks the second backend."""
    assignment: Assignment | None = None
    """The experiment that chose the backend."""
    canary: Canary | None = None
    """The canary that chose it."""

    @property
    def certain(self) -> bool:
        """Whether only one backend can answer."""
        return self.fallback is None and self.second is None


@dataclass(frozen=True)
class AnswerStrategy:
    """One question on its route. Each backend enforces its own limits; all share one deadline.

    `observation` holds the backend that currently has the question; the shadow receives the first backend's answers.
    The tokens that a failed backend used are charged. An unparsed answer does not trigger the fallback, since the
    model answered and was paid for.
    """

    question: Question
    route: Route
    options: RequestOptions
    recommender: Recommender
    collectors: Collectors
    timer: RequestTimer
    observation: RequestObservation
    shadow: Shadow | None = None

    async def recommend(self) -> Answer:
        """Return the first backend's answer or the fallback's; if both fail, raise the fallback's error."""
        own_s = self.timer.read()[1]
        try:
            return self._finish_first(await self._ask(self.route.first))
        except (BackendError, Overloaded) as error:
            self._observe(error)
            fallback = self._fallback_for(error)
            if fallback is None:
                raise
            self._hand_over(error, fallback, own_s)
        return self._finish(await self._ask(fallback), self.route.first.name)

    async def stream(self) -> AsyncGenerator[Part, None]:
        """Yield the parts of the answer. The fallback does not take over once one was yielded."""
        own_s, sent = self.timer.read()[1], False
        try:
            async with aclosing(self._stream(self.route.first)) as pieces:
                async for piece in pieces:
                    sent = True
                    yield self._finish_first(piece) if isinstance(piece, Answer) else piece
            return
        except (BackendError, Overloaded) as error:
            self._observe(error)
            fallback = None if sent else self._fallback_for(error)
            if fallback is None:
                raise
            self._hand_over(error, fallback, own_s)
        async with aclosing(self._stream(fallback)) as pieces:
            async for piece in pieces:
                yield self._finish(piece, self.route.first.name) if isinstance(piece, Answer) else piece

    async def _ask(self, upstream: Upstream) -> Answer:
        return await self.recommender.ask(self.question, upstream, self.options, self.timer)

    def _stream(self, upstream: Upstream) -> AsyncGenerator[Part, None]:
        return self.recommender.stream(self.question, upstream, self.options, self.timer)

    def _fallback_for(self, error: BackendError | Overloaded) -> Upstream | None:
        unusable = isinstance(error, UnparsedAnswer) or self.options.deadline.passed
        return None if unusable else self.route.fallback

    async def _with_metrics(self, upstream: Upstream) -> Question:
        """Look the metrics up once for this backend's call, so that all backends receive the same."""
        async with self.options.deadline.limit("no metrics of the ticker in time"):
            return await self.recommender.with_metrics(self.question, upstream, self.options, self.timer)

    def _next(self, question: Question, upstream: Upstream) -> AnswerStrategy:
        """Return the strategy that asks another backend of the route instead."""
        fallback = None if self.route.fallback is upstream else self.route.fallback
        route = Route(upstream, fallback, assignment=self.route.assignment)
        return AnswerStrategy(
            question, route, self.options, self.recommender, self.collectors, self.timer, self.observation
        )

    def _hand_over(self, error: ConvictionError, fallback: Upstream, own_s: float) -> None:
        """Count the first backend's failure. The time since `own_s` was spent waiting for that backend."""
        self.timer.add_waiting(self.timer.read()[1] - own_s)
        self.collectors.record_fallback(self.observation, error, fallback.name)

    def _observe(self, outcome: Answer | ConvictionError) -> None:
        """Report the first backend's outcome to the canary that chose it."""
        if self.route.canary is not None:
            elapsed_ms = 1000 * self.timer.read()[0]
            self.route.canary.observe(self.route.first.name, self.question.detail, outcome, elapsed_ms)

    def _finish_first(self, answer: Answer) -> Answer:
        self._observe(answer)
        if self.shadow is not None:
            self.shadow.offer(self.question, answer.recommendation, self.route.first, self.options)
        return self._finish(answer)

    def _finish(self, answer: Answer, fallback_from: BackendName | None = None) -> Answer:
        """Count the answer, and record the experiment and the failed backend in it."""
        recommendation, assignment = answer.recommendation, self.route.assignment
        count_answer(self.collectors.by_backend[recommendation.backend], recommendation, self.question.detail)
        if assignment is None and fallback_from is None:
            return answer
        marked = replace(recommendation, experiment=assignment, fallback_from=fallback_from)
        return replace(answer, recommendation=marked)
