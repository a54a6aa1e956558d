"""Requests and errors, validated as strictly as by OpenAI's servers and by vLLM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contract.prompt import Detail, Line
from app.contract.recommendation import response_format
from app.stand_in.prompt_parser import NotAPrompt, parse_prompt

Positive = Annotated[int, Field(ge=1)]


class Refused(Exception):
    """An error document in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"Retry-After": str(retry_after)} if status in (429, 503) else {}
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.document = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UserMessage(_Strict):
    role: Literal["user"]
    content: str


class StreamOptions(_Strict):
    include_usage: bool
    continuous_usage_stats: bool = False
    """An option of vLLM alone: each event reports the tokens so far."""


class ChatRequest(_Strict):
    """The accepted request for a chat completion."""

    model: str
    messages: Annotated[list[UserMessage], Field(min_length=1, max_length=1)]
    response_format: dict[str, Any]
    temperature: float | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    seed: int | None = None
    reasoning_effort: Literal["none", "low", "medium", "high"] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def limit(self) -> int:
        return self.max_tokens or self.max_completion_tokens or 1

    @property
    def reasons(self) -> bool:
        return self.reasoning_effort not in (None, "none")


def hosted(model: str) -> bool:
    """Return whether vLLM, not OpenAI, serves the model."""
    return not model.startswith("gpt-")


def parse_request(body: bytes) -> ChatRequest:
    """Parse a request; unknown fields and other types are errors. Raises `Refused`."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise Refused(400, f"{param or 'body'}: {first['msg']}", param=param) from None


def parse_question(request: ChatRequest) -> tuple[Detail, dict[str, Line]]:
    """Return the detail and the evidence of a request that the model's real server would accept. Raises `Refused`."""
    for violated, param, message in _rules(request):
        if violated:
            raise Refused(400, message, param=param, code="unsupported_value")
    try:
        detail, lines = parse_prompt(request.messages[0].content)
    except NotAPrompt as error:
        raise Refused(400, str(error), param="messages") from None
    if request.response_format != response_format(detail, bounded=hosted(request.model)):
        raise Refused(400, f"the schema is not that of a {detail} answer", param="response_format")
    return detail, lines


def _rules(request: ChatRequest) -> list[tuple[bool, str, str]]:
    """Return whether each rule is violated, the field that it is about, and the error message."""
    vllm, effort, options = hosted(request.model), request.reasoning_effort, request.stream_options
    can_reason = request.model.startswith(("gpt-5", "gpt-6"))
    must_reason = request.model.startswith(("gpt-6.1-sol", "gpt-6-astra"))
    thinking = can_reason and effort != "none"
    limit, other = ("max_tokens", "max_completion_tokens") if vllm else ("max_completion_tokens", "max_tokens")
    sampling = request.temperature is not None or request.logprobs or request.top_logprobs is not None
    return [
        (getattr(request, limit) is None, limit, f"{limit} is required"),
        (getattr(request, other) is not None, other, f"{other} is not supported; use {limit}"),
        (effort is not None and not can_reason, "reasoning_effort", "this model does not reason"),
        (effort == "none" and must_reason, "reasoning_effort", "this model cannot disable reasoning"),
        (thinking and sampling, "temperature", "no temperature and no logprobs while the model reasons"),
        (not thinking and request.temperature != 0, "temperature", "the temperature must be 0"),
        (request.top_logprobs is not None and not request.logprobs, "top_logprobs", "needs logprobs"),
        (options is not None and not request.stream, "stream_options", "needs stream"),
        (
            not vllm and options is not None and options.continuous_usage_stats,
            "stream_options",
            "unsupported option",
        ),
    ]
