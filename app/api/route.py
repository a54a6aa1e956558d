"""Which backends a request may be answered by, by its headers, the experiments and its key's scope."""

from __future__ import annotations

from starlette.requests import Request

from app.api.state import experiments_of, principal_of, resources_of
from app.auth.principal import may_ask, require_backend
from app.contract.completion import BackendName
from app.errors import InvalidRequest
from app.recommend import Question
from app.recommendation import Assignment
from app.routing.fallback import Route
from app.routing.headers import FALLBACK, HEADER, SUBJECT, Choice, asked_of, choose, choose_fallback, subject
from app.telemetry.logs import request_id
from app.telemetry.metrics import RequestObservation

FROM = "X-Fallback-From"


class Routes:
    """Where the questions of one request are observation: at the backend that a header names, else at that of an
    experiment's arm, else at the default.

    `observation` learns of the first as far as it is known. Raises what headers alone are refused for: `UnknownBackend`,
    `Forbidden` for any of the backends, `InvalidRequest` for a subject or a fallback that is none.
    """

    def __init__(self, request: Request, observation: RequestObservation) -> None:
        resources, headers = resources_of(request), request.headers
        self._principal, self._upstreams = principal_of(request), resources.upstreams
        self._experiments = experiments_of(request)
        self._subject = subject(headers.getlist(SUBJECT))
        self._default = resources.settings.default_backend
        self._threshold = resources.settings.cascade_threshold
        named = choose(headers.getlist(HEADER))
        self.choice: Choice | None = named
        """What every question is put to; None where that depends on the question."""
        if named is None and not self._experiments.any:
            self.choice = self._default
        observation.backend = self.first
        self._fallback = choose_fallback(headers.getlist(FALLBACK), named or self._default)
        for backend in asked_of(self.choice) if self.choice else ():
            require_backend(self._principal, backend)
        if self._fallback is not None:
            require_backend(self._principal, self._fallback)

    @property
    def first(self) -> BackendName | None:
        """The backend that is observation first, as far as that is known before the question is."""
        return None if self.choice is None else asked_of(self.choice)[0]

    def route(self, question: Question, observation: RequestObservation, place: int | None = None) -> Route:
        """Where to ask a question, at some `place` of a batch; `observation` learns of the first. Raises `Forbidden`."""
        choice, assignment = self.choice, None
        if choice is None:
            choice, assignment = self._dealt(question, place)
        first, *more = [self._upstreams[name] for name in asked_of(choice)]
        observation.backend = first.name
        fallback = None if self._fallback in (None, choice) else self._upstreams[self._fallback]
        second = more[0] if more else None
        return Route(first, fallback, second, self._threshold, assignment)

    def headers(self) -> dict[str, str]:
        """What can be said before there is an answer."""
        return {} if self.choice is None else {HEADER: self.choice}

    def _dealt(self, question: Question, place: int | None) -> tuple[Choice, Assignment | None]:
        """The arm of an experiment; the default where none applies, or the key's scope leaves the arm out."""
        experiment = self._experiments.experiment(question.detail)
        if experiment is not None:
            arm = experiment.deal(self._subject or (question.ticker or "").upper() or _this_request(place))
            if all(may_ask(self._principal, backend) for backend in asked_of(arm.backend)):
                return arm.backend, Assignment(experiment.name, arm.name)
        require_backend(self._principal, self._default)
        return self._default, None


def _this_request(place: int | None) -> str:
    return f"{request_id.get()}" if place is None else f"{request_id.get()}/{place}"


def route_headers(route: Route, observation: RequestObservation) -> dict[str, str]:
    """Which backend has the question, and which failed it."""
    headers: dict[str, str] = {HEADER: observation.backend or route.first.name}
    return headers if observation.fallback_from is None else {**headers, FROM: observation.fallback_from}


def refuse_fallback(request: Request) -> None:
    """Raise `InvalidRequest` where nobody takes over, so that nobody relies on it."""
    if FALLBACK in request.headers:
        raise InvalidRequest(f"{FALLBACK} goes with recommendations alone")
