"""A trial of the candidate: if it fails in any way, the incumbent answers instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.backends.upstream import Upstream
from app.errors import BackendError, ConvictionError, LimitReached, Overloaded
from app.recommend import Answer, Part, Question
from app.routing.fallback import AnswerStrategy

SHARE = 0.5
"""The share of a request's time in which the candidate must answer, or begin its stream; the incumbent has the rest."""


@dataclass(frozen=True)
class Trial(AnswerStrategy):
    """One question that the gateway gave to the candidate, although the client did not ask for it.

    The incumbent, the route's second backend, answers if the candidate fails, is late, is at one of its limits, or
    gives no valid answer; then the client's fallback applies to the incumbent. Only a stream that has begun fails with
    the candidate. Both backends are charged for their calls.
    """

    async def recommend(self) -> Answer:
        question, own_s = await self._with_metrics(self._incumbent), self.timer.read()[1]
        options = replace(self.options, deadline=self.options.deadline.part(SHARE))
        try:
            return self._finish_first(await self.recommender.ask(question, self.route.first, options, self.timer))
        except ConvictionError as error:
            then = self._instead(question, error, own_s)
        return self._explain(await then.recommend())

    async def stream(self) -> AsyncGenerator[Part, None]:
        question, own_s = await self._with_metrics(self._incumbent), self.timer.read()[1]
        answer = self.recommender.stream(question, self.route.first, self.options, self.timer)
        began = False
        async with aclosing(answer) as pieces:
            try:
                async with self.options.deadline.part(SHARE).limit(f"{self.route.first.name} began no answer in time"):
                    first = await anext(pieces)
                began = True
                yield self._finish_first(first) if isinstance(first, Answer) else first
                async for piece in pieces:
                    yield self._finish_first(piece) if isinstance(piece, Answer) else piece
                return
            except ConvictionError as error:
                if began:
                    self._observe(error)
                    raise
                then = self._instead(question, error, own_s)
        async with aclosing(then.stream()) as pieces:
            async for piece in pieces:
                yield self._explain(piece) if isinstance(piece, Answer) else piece

    @property
    def _incumbent(self) -> Upstream:
        assert self.route.second is not None
        return self.route.second

    def _instead(self, question: Question, error: ConvictionError, own_s: float) -> AnswerStrategy:
        """Return the incumbent's strategy, or raise an error that is not the candidate's. A request whose call began
        is counted already."""
        self._observe(error)
        failed = isinstance(error, BackendError | Overloaded)
        if not (failed or (isinstance(error, LimitReached) and error.scope == "backend")):
            raise error
        if self.options.deadline.passed:
            raise error
        self._hand_over(error, self._incumbent, own_s)
        counted = question.counted or isinstance(error, BackendError)
        return self._next(replace(question, counted=counted), self._incumbent)

    def _explain(self, answer: Answer) -> Answer:
        recommendation = answer.recommendation
        failed = recommendation.fallback_from or self.route.first.name
        return replace(answer, recommendation=replace(recommendation, fallback_from=failed))
