"""Parsing of a teacher's chat completion into a label or a failure reason."""

from __future__ import annotations

import json
from typing import Any, get_args

from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice
from pydantic import ValidationError

from app.contract.probabilities import Token
from app.contract.prompt import Detail
from app.contract.recommendation import UnparsedAnswer, canonical, parse
from training.labeling.journal import Answered
from training.labeling.soft_labels import stated_probabilities
from training.labeling.tariff import Tariff

DETAILS: tuple[Detail, ...] = get_args(Detail)


def parse_completion(call: str, key: str, document: Any, tariff: Tariff, at_most: int) -> Answered:
    """Return the label or failure of a chat completion; without usage it is charged `at_most`."""
    try:
        completion = ChatCompletion.model_validate(document)
        choice = completion.choices[0]
    except (ValidationError, IndexError):
        return Answered(call=call, key=key, failure="malformed response", nano_usd=at_most)
    answer, failure = _read(_detail(key), choice.message.content, choice.message.refusal, choice.finish_reason)
    usage = completion.usage
    if usage is None:
        spent = {"nano_usd": at_most}
    else:
        details = usage.prompt_tokens_details
        prompt, cached = usage.prompt_tokens, (details and details.cached_tokens) or 0
        spent = {
            "prompt_tokens": prompt,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": cached,
            "nano_usd": tariff.nano_usd(prompt, usage.completion_tokens, cached),
        }
    soft = stated_probabilities(_tokens(choice)) if answer else {}
    stated = json.dumps(soft) if soft else None
    return Answered(call=call, key=key, answer=answer, failure=failure, model=completion.model, soft=stated, **spent)


def _tokens(choice: Choice) -> list[Token]:
    """Return the answer's tokens with their alternatives; none if the server does not state them."""
    stated = (choice.logprobs.content if choice.logprobs else None) or []
    return [Token.model_validate(one.model_dump()) for one in stated]


def _read(detail: Detail, text: str | None, refusal: str | None, finish: str) -> tuple[str | None, str | None]:
    if refusal:
        return None, "refusal"
    if finish != "stop":
        return None, finish
    try:
        return canonical(parse(detail, text or "")), None
    except UnparsedAnswer as error:
        return None, f"unparsed answer: {error}"


def _detail(key: str) -> Detail:
    name = key.partition("-")[0]
    return next(detail for detail in DETAILS if detail == name)
