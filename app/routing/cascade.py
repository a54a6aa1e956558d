"""A cascade: the first backend answers in brief; where its probability is below a threshold, the second answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.errors import BackendError, Overloaded
from app.recommend import Answer, Part
from app.recommendation import Cascaded, Recommendation
from app.routing.fallback import AnswerStrategy


@dataclass(frozen=True)
class Cascade(AnswerStrategy):
    """One question, answered by the first backend or passed on to the second; each backend is charged for its calls.

    If the first backend's answer is kept and the request asks for full detail, a second call to that backend writes it.
    A fallback takes over from the other backend, whichever position it has in the cascade; without one, a failure is
    the answer. The shadow copies no answer of a cascade.
    """

    async def recommend(self) -> Answer:
        result, then = await self._ask_first()
        answer = await then.recommend() if isinstance(then, AnswerStrategy) else self._finish(then)
        return self._explain(answer, result)

    async def stream(self) -> AsyncGenerator[Part, None]:
        result, then = await self._ask_first()
        if isinstance(then, Answer):
            yield self._explain(self._finish(then), result)
            return
        async with aclosing(then.stream()) as pieces:
            async for piece in pieces:
                yield self._explain(piece, result) if isinstance(piece, Answer) else piece

    async def _ask_first(self) -> tuple[Cascaded, AnswerStrategy | Answer]:
        """Ask the first backend in brief, and return its answer or the strategy that answers instead."""
        route, second, own_s = self.route, self.route.second, self.timer.read()[1]
        assert second is not None
        looked_up = await self._with_metrics(route.first)
        brief, question = replace(looked_up, detail="brief"), replace(looked_up, counted=False)
        try:
            answer = await self.recommender.ask(brief, route.first, self.options, self.timer)
        except (BackendError, Overloaded) as error:
            if route.fallback is not second or self._fallback_for(error) is None:
                raise
            self._hand_over(error, second, own_s)
            return Cascaded(route.threshold, None, None, True, None), self._next(question, second)
        result = judge(answer.recommendation, route.threshold)
        if result.passed_on:
            self.observation.backend = second.name
            return result, self._next(question, second)
        if question.detail == "full":
            return result, self._next(question, route.first)
        return replace(result, cost=None), answer

    def _explain(self, answer: Answer, result: Cascaded) -> Answer:
        failed = self.route.first.name if result.action is None else answer.recommendation.fallback_from
        explained = replace(answer.recommendation, cascade=result, fallback_from=failed)
        return replace(answer, recommendation=explained)


def judge(brief: Recommendation, threshold: float) -> Cascaded:
    """Decide whether the first backend's brief answer is sure enough."""
    probability = getattr(brief.probabilities, brief.action) if brief.probabilities else None
    passed_on = probability is None or probability < threshold
    return Cascaded(threshold, brief.action, probability, passed_on, brief.cost)
