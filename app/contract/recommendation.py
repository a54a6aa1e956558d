"""Answers of models: schemas for structured output, canonical JSON, and the parser."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contract.prompt import Detail

Action = Literal["buy", "sell", "hold"]
Conviction = Annotated[int, Field(ge=1, le=10)]
ACTIONS: tuple[Action, ...] = get_args(Action)
ANALYSIS_MAX = 1500
"""Characters. The bound is part of the grammar, so that a model that repeats itself still closes its JSON."""

ANSWER_TOKENS: dict[Detail, int] = {"brief": 48, "full": 1560}
"""The longest answer that the grammar allows, at one token per character."""


class UnparsedAnswer(ValueError):
    """A model's text is not an answer. It is never treated as a hold."""


class BriefAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    action: Action
    conviction: Conviction


class FullAnswer(BaseModel):
    """The action comes first: an analysis before it misleads a small model by each item that it gets wrong."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    action: Action
    conviction: Conviction
    analysis: Annotated[str, Field(min_length=1, max_length=ANALYSIS_MAX)]


Answer = BriefAnswer | FullAnswer
ANSWERS: dict[Detail, type[BriefAnswer] | type[FullAnswer]] = {"brief": BriefAnswer, "full": FullAnswer}


def answer_schema(detail: Detail, bounded: bool = True) -> dict[str, Any]:
    """Return an answer's JSON schema, in the subset that every server supports for strict structured output.

    `bounded` limits the length of the analysis: vLLM supports the keyword, OpenAI's strict mode rejects it.
    """
    properties: dict[str, Any] = {
        "action": {"type": "string", "enum": list(ACTIONS)},
        "conviction": {"type": "integer", "enum": list(range(1, 11))},
    }
    if detail == "full":
        length = {"minLength": 1, "maxLength": ANALYSIS_MAX} if bounded else {}
        properties["analysis"] = {"type": "string", **length}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def response_format(detail: Detail, bounded: bool = True) -> dict[str, Any]:
    """Return the `response_format` of a chat completion that enforces the answer's schema."""
    named = {"name": "recommendation", "strict": True, "schema": answer_schema(detail, bounded)}
    return {"type": "json_schema", "json_schema": named}


def canonical(answer: Answer) -> str:
    """Return an answer as compact JSON: byte for byte what the grammar allows and training targets contain."""
    return json.dumps(answer.model_dump(), separators=(",", ":"), ensure_ascii=False)


def parse(detail: Detail, text: str) -> Answer:
    """Parse a model's text. Raises `UnparsedAnswer` unless it is exactly one valid answer."""
    try:
        answer = ANSWERS[detail].model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "answer"
        raise UnparsedAnswer(f"{where}: {first['msg']}") from error
    if len(json.loads(text, object_pairs_hook=list)) > len(ANSWERS[detail].model_fields):
        raise UnparsedAnswer("answer: a field is repeated")  # the decision and its probabilities are of the first
    return answer
