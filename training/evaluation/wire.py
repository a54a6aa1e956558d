"""Response models of gateways and OpenAI-style servers, limited to the fields that evaluation reads."""

from __future__ import annotations

from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app.contract.probabilities import Token
from app.contract.recommendation import Action, Conviction


class _Named(BaseModel):
    name: str
    model: str | None = None


class Backends(BaseModel):
    """A gateway's list of backends."""

    backends: list[_Named]


class _Served(BaseModel):
    id: str


class Models(BaseModel):
    """A server's list of models."""

    data: list[_Served]


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class Recommendation(BaseModel):
    """A gateway's answer."""

    action: Action
    conviction: Conviction
    probabilities: dict[Action, float] | None
    usage: _Usage


class Problem(BaseModel):
    """A gateway's problem document."""

    code: str


class _Logprobs(BaseModel):
    content: list[Token] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class Completion(BaseModel):
    """A server's chat completion."""

    choices: list[_Choice]
    usage: _Usage


_Document = TypeVar("_Document", bound=BaseModel)


def parse_body(kind: type[_Document], response: httpx.Response) -> _Document | None:
    """Return the parsed body, or None if it is not such a document."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError:
        return None
