"""What a streamed chat completion says, event by event, as far as it is used here."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from app.contract.probabilities import Token

Count = Annotated[int, Field(ge=0)]


class Logprobs(BaseModel):
    content: list[Token] | None = None


class Delta(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    delta: Delta
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class PromptDetails(BaseModel):
    cached_tokens: Count | None = None


class CompletionDetails(BaseModel):
    reasoning_tokens: Count | None = None


class UsageReport(BaseModel):
    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Event(BaseModel):
    """One event; the last carries the usage and no choice."""

    model: str = ""
    system_fingerprint: str | None = None
    choices: list[Choice]
    usage: UsageReport | None = None


class Listing(BaseModel):
    """The answer of /v1/models."""

    class Model(BaseModel):
        id: str

    data: list[Model]
