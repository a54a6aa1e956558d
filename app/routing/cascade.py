"""A cascade: the first backend answers in brief, and where it is not sure enough the second answers instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.backends.upstream import Upstream
from app.comparison.shadow import Shadow
from app.completions.request import RequestOptions
from app.errors import BackendError, Overloaded
from app.recommend import Answered, Question, Recommender, Reply
from app.recommendation import Cascaded, RequestCost
from app.routing.fallback import AnswerStrategy, Route
from app.telemetry.metrics import Collectors, RequestObservation
from app.telemetry.request_timer import RequestTimer


@dataclass(frozen=True)
class Cascade(AnswerStrategy):
    """One question put to the first backend, and to the second if it must be; each call is booked as its backend's.

    An answer that is kept and was observation for in full is written by the first backend, in a second call. A fallback
    that is named takes over from the other backend, be it observation first or last; without one, what fails has failed.
    """

    async def recommend(self) -> Answered:
        verdict, then = await self._first()
        answered = (
            await then.recommend() if isinstance(then, AnswerStrategy) else self._marked(then.answered(self.timer))
        )
        return self._explained(answered, verdict)

    async def stream(self) -> AsyncGenerator[str | Answered, None]:
        verdict, then = await self._first()
        if isinstance(then, Reply):
            yield self._explained(self._marked(then.answered(self.timer)), verdict)
            return
        async with aclosing(then.stream()) as pieces:
            async for piece in pieces:
                yield piece if isinstance(piece, str) else self._explained(piece, verdict)

    async def _first(self) -> tuple[Cascaded, AnswerStrategy | Reply]:
        """What the first backend's answer in brief comes to: the answer itself, or who is observation for it."""
        route, second, own_s = self.route, self.route.second, self.timer.read()[1]
        assert second is not None
        threshold = route.threshold
        question = await self._with_metrics()
        brief = replace(question, detail="brief")
        try:
            reply = await self.recommender.ask(brief, route.first, self.options, self.timer)
        except (BackendError, Overloaded) as fault:
            if route.fallback is not second or self._instead(fault) is None:
                raise
            self._turn(fault, second, own_s)
            return Cascaded(threshold, None, None, True, None), self._next(question, second)
        verdict = judged(reply, threshold)
        if verdict.passed_on:
            self.observation.backend = second.name
            return verdict, self._next(question, second)
        if question.detail == "full":
            return verdict, self._next(question, route.first)
        return replace(verdict, cost=None), reply

    async def _with_metrics(self) -> Question:
        """The question with its metrics, the same for whoever is observation."""
        async with self.options.deadline.limit("no metrics of the ticker in time"):
            return await self.recommender.with_metrics(self.question, self.timer)

    def _next(self, question: Question, upstream: Upstream) -> AnswerStrategy:
        fallback = None if self.route.fallback is upstream else self.route.fallback
        route = Route(upstream, fallback, assignment=self.route.assignment)
        return AnswerStrategy(
            question, route, self.options, self.recommender, self.collectors, self.timer, self.observation
        )

    def _explained(self, answered: Answered, verdict: Cascaded) -> Answered:
        failed = self.route.first.name if verdict.action is None else answered.recommendation.fallback_from
        marked = replace(answered.recommendation, cascade=verdict, fallback_from=failed)
        return replace(answered, recommendation=marked)


def strategy_for(
    question: Question,
    route: Route,
    options: RequestOptions,
    recommender: Recommender,
    collectors: Collectors,
    timer: RequestTimer,
    observation: RequestObservation,
    shadow: Shadow,
) -> AnswerStrategy:
    """Return the strategy that answers a question on its route. A cascade's answers are not copied by the shadow."""
    kind = AnswerStrategy if route.second is None else Cascade
    return kind(question, route, options, recommender, collectors, timer, observation, shadow)


def judged(reply: Reply, threshold: float) -> Cascaded:
    """Whether the first backend's answer in brief is sure enough."""
    action, shares = reply.made.answer.action, reply.made.completion.probabilities
    probability = round(shares[action], 6) if shares else None
    passed_on = probability is None or probability < threshold
    return Cascaded(threshold, action, probability, passed_on, RequestCost.of(reply.made.cost))
