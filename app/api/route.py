"""The backends that may answer a request, chosen by its headers, the experiments and the scope of its key."""

from __future__ import annotations

from starlette.requests import Request

from app.api.state import experiments_of, principal_of, resources_of
from app.auth.principal import may_use, require_backend
from app.completions.request import RequestOptions
from app.contract.completion import CANDIDATE, INCUMBENT, BackendName
from app.errors import InvalidRequest
from app.recommend import Question
from app.recommendation import Assignment
from app.routing.cascade import Cascade
from app.routing.experiments import CANARY
from app.routing.fallback import AnswerStrategy, Route
from app.routing.headers import FALLBACK, HEADER, SUBJECT, Choice, backends_of, choose, choose_fallback, subject
from app.routing.trial import Trial
from app.telemetry.logs import request_id
from app.telemetry.metrics import RequestObservation
from app.telemetry.request_timer import RequestTimer

FROM = "X-Fallback-From"


class RequestRouter:
    """Routes the questions of one request to the backend that a header names, else an experiment's arm, else the
    canary's, else the default.

    Raises `UnknownBackend`, `Forbidden` for a backend outside the key's scope, `InvalidRequest` for an invalid subject
    or fallback, and `NotConfigured` for a candidate where there is none.
    """

    def __init__(self, request: Request, observation: RequestObservation) -> None:
        self._resources, headers = resources_of(request), request.headers
        self._principal, self._experiments = principal_of(request), experiments_of(request)
        self._subject = subject(headers.getlist(SUBJECT))
        self._default = self._resources.settings.default_backend
        named = choose(headers.getlist(HEADER))
        self.choice: Choice | None = named
        """The backend of every question; None where an experiment decides for each."""
        if named is None and not (self._experiments.any or self._canary_assigns):
            self.choice = self._default
        backends = backends_of(self.choice) if self.choice else ()
        for backend in backends:
            self._resources.upstream(backend)
        observation.backend = self.first
        self._fallback = choose_fallback(headers.getlist(FALLBACK), named or self._default)
        for backend in backends:
            require_backend(self._principal, backend)
        if self._fallback is not None:
            require_backend(self._principal, self._fallback)

    @property
    def first(self) -> BackendName | None:
        """The first backend to be asked; None where that depends on the question."""
        return None if self.choice is None else backends_of(self.choice)[0]

    def strategy(
        self,
        question: Question,
        options: RequestOptions,
        timer: RequestTimer,
        observation: RequestObservation,
        index: int | None = None,
    ) -> AnswerStrategy:
        """Return the strategy that answers a question, the one at `index` of a batch. Raises `Forbidden`."""
        resources, choice, assignment = self._resources, self.choice, None
        if choice is None:
            choice, assignment = self._assign(question, index)
        tried = assignment is not None and choice == CANDIDATE
        names = _needed(choice) if tried else backends_of(choice)
        first, *more = [resources.upstream(name) for name in names]
        observation.backend = first.name
        fallback = None if self._fallback in (None, choice) else resources.upstreams[self._fallback]
        second = more[0] if more else None
        canary = resources.canary if assignment is not None and assignment.name == CANARY else None
        route = Route(first, fallback, second, resources.settings.cascade_threshold, assignment, canary)
        kind = Trial if tried else AnswerStrategy if second is None else Cascade
        return kind(
            question,
            route,
            options,
            resources.recommender,
            resources.collectors,
            timer,
            observation,
            resources.shadow,
        )

    def headers(self) -> dict[str, str]:
        """Return the headers that are known before there is an answer."""
        return {} if self.choice is None else {HEADER: self.choice}

    @property
    def _canary_assigns(self) -> bool:
        return self._resources.canary.state.active and self._default == INCUMBENT

    def _usable(self, backend: BackendName) -> bool:
        """Return whether this gateway has the backend and the key's scope includes it."""
        return backend in self._resources.upstreams and may_use(self._principal, backend)

    def _assign(self, question: Question, index: int | None) -> tuple[Choice, Assignment | None]:
        """Return an experiment's arm, or the canary's where none applies, or the default where that is not usable."""
        experiment, canary = self._experiments.experiment(question.detail), self._resources.canary
        of = self._subject or (question.ticker or "").upper() or _unique_subject(index)
        if experiment is not None:
            arm = experiment.assign(of)
            if all(map(self._usable, _needed(arm.backend))):
                return arm.backend, Assignment(experiment.name, arm.name)
        elif self._canary_assigns and all(map(self._usable, _needed(CANDIDATE))):
            backend = canary.assign(of)
            return backend, Assignment(CANARY, backend)
        require_backend(self._principal, self._default)
        return self._default, None


def _needed(choice: Choice) -> tuple[BackendName, ...]:
    """Return the backends that an arm may ask."""
    return (CANDIDATE, INCUMBENT) if choice == CANDIDATE else backends_of(choice)


def _unique_subject(index: int | None) -> str:
    return f"{request_id.get()}" if index is None else f"{request_id.get()}/{index}"


def route_headers(strategy: AnswerStrategy) -> dict[str, str]:
    """Return which backend has the question, and which backend failed before."""
    observation = strategy.observation
    headers: dict[str, str] = {HEADER: observation.backend or strategy.route.first.name}
    return headers if observation.fallback_from is None else {**headers, FROM: observation.fallback_from}


def refuse_fallback(request: Request) -> None:
    """Raise `InvalidRequest` for a fallback header where no fallback is supported."""
    if FALLBACK in request.headers:
        raise InvalidRequest(f"{FALLBACK} is supported for recommendations only")
