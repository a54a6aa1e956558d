"""The stand-in's endpoints: models, chat completions, health, failures and tally."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.backends.http_transport import NO_KEY
from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import fingerprint
from app.settings.gateway import Settings
from app.stand_in.delivery import corrupt, deliver, status_error
from app.stand_in.failures import Failure, FailurePlan
from app.stand_in.protocol import Refused, hosted, parse_question, parse_request
from app.stand_in.replies import PREFIX, Reply
from app.stand_in.tally import Tally
from app.stand_in.tokens import answer_tokens

DEFAULT_KEY = "stand-in-key"


def default_models() -> tuple[str, str]:
    """Return the model ids that a gateway with default settings requests."""
    return Settings.model_fields["gpt4_model"].default, f"{PREFIX}mistral-{fingerprint()}"


class StandIn:
    """The state of the endpoints.

    The key gives access to all models, and `NO_KEY`, which clients send to servers without keys, to those of vLLM.
    """

    def __init__(self, key: str, models: Sequence[str], seconds_per_token: float) -> None:
        self._key = key
        self._models = models
        self._pause_s = seconds_per_token
        self._plan = FailurePlan()
        self._tally = Tally()

    async def models(self, request: Request) -> Response:
        listed = [
            {"id": model, "object": "model", "created": 0, "owned_by": "stand-in"}
            for model in self._models_of(_bearer(request))
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def chat(self, request: Request) -> Response:
        key = _bearer(request)
        allowed = self._models_of(key)
        failure = _requested_failure(request) or self._plan.next()
        mode = failure.mode if failure else None
        if failure and (refused := status_error(failure.mode, failure.retry_after, key)):
            raise refused
        chat = parse_request(await request.body())
        if chat.model not in allowed:
            raise Refused(404, f"no model {chat.model} for this key", param="model", code="model_not_found")
        detail, lines = parse_question(chat)
        reply = Reply(chat, detail, answer_tokens(rules.answer_from(lines, detail)))
        if len(reply.tokens) > chat.limit:
            reply = Reply(chat, detail, reply.tokens[: chat.limit], finish_reason="length")
        return deliver(corrupt(reply, mode), failure, self._pause_s, self._tally)

    async def fail(self, request: Request) -> Response:
        try:
            self._plan.set(Failure.model_validate_json(await request.body()))
        except ValidationError as error:
            raise Refused(400, str(error.errors(include_url=False, include_input=False)[0]["msg"])) from None
        return Response(status_code=204)

    async def tally(self, _: Request) -> Response:
        return JSONResponse(self._tally.document())

    async def health(self, _: Request) -> Response:
        return Response()

    def _models_of(self, key: str) -> Sequence[str]:
        if compare_digest(key.encode(), self._key.encode()):
            return self._models
        if key == NO_KEY:
            return [model for model in self._models if hosted(model)]
        raise Refused(401, f"Incorrect API key provided: {key}", code="invalid_api_key")


def create_stand_in(*, key: str = DEFAULT_KEY, models: Sequence[str] = (), seconds_per_token: float = 0.0) -> ASGIApp:
    """Return the server; the default models are those that a gateway with default settings requests."""
    stand_in = StandIn(key, tuple(models) or default_models(), seconds_per_token)
    app = FastAPI(openapi_url=None)
    app.add_api_route("/v1/models", stand_in.models)
    app.add_api_route("/v1/chat/completions", stand_in.chat, methods=["POST"])
    app.add_api_route("/stand-in/fail", stand_in.fail, methods=["POST"])
    app.add_api_route("/stand-in/tally", stand_in.tally)
    app.add_api_route("/health", stand_in.health)
    app.add_exception_handler(Refused, refuse)
    app.add_exception_handler(HTTPException, _no_such_endpoint)
    return _marked(app)


def _bearer(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not key:
        raise Refused(401, "You didn't provide an API key.", code="invalid_api_key")
    return key


def _requested_failure(request: Request) -> Failure | None:
    mode = request.headers.get("x-stand-in-fail")
    if mode is None:
        return None
    try:
        return Failure.model_validate({"mode": mode})
    except ValidationError:
        raise Refused(400, f"unknown failure mode {mode}", param="x-stand-in-fail") from None


async def refuse(_: Request, error: Exception) -> Response:
    """The handler of `Refused`."""
    assert isinstance(error, Refused)
    return JSONResponse(error.document, error.status, error.headers)


async def _no_such_endpoint(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refused = Refused(error.status_code, error.detail)
    return JSONResponse(refused.document, refused.status, error.headers)


def _marked(app: ASGIApp) -> ASGIApp:
    """Add the header X-Stand-In to every response."""

    async def marked(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stand-in", b"true")]
            await send(message)

        await app(scope, receive, send_marked if scope["type"] == "http" else send)

    return marked
