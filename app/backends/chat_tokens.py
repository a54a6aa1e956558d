"""The tokens of a chat completion: the most that its call can use, and an estimate where the server reports none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from pydantic_core import to_json

from app.backends.estimate import CHARACTERS_PER_TOKEN
from app.backends.upstream import TEMPLATE_TOKENS
from app.contract.completion import Usage

LIMITS = ("max_completion_tokens", "max_tokens")
GRAMMARS = ("tools", "response_format")
"""The parts of a body besides its messages that the model reads."""

GRAMMAR_TEMPLATE_TOKENS = 512
"""The most tokens that a chat template adds to describe tools and schemas."""

MAX_IMAGE_TOKENS = 16_384
"""The most of a picture in any detail: 10,000 patches of 32 pixels, times a model's factor of up to 1.62."""
IMAGE_TOKENS = 1445
"""Of a large picture in high detail for the GPT-4 models."""

REASONING_TOKENS: Mapping[str | None, int] = {"none": 0, "minimal": 8_000, "low": 8_000, None: 32_000, "medium": 32_000}
MAX_REASONING_TOKENS = 64_000
"""The most tokens of thinking by `reasoning_effort`, reserved beside the limit, which some servers apply to the visible
answer only. The higher efforts need the most."""


def max_usage(body: Mapping[str, Any], answer_tokens: int, reasons: bool) -> Usage:
    """Return the most that a call can use; `answer_tokens` is its limit of completion tokens if it states none.

    A token has at least one byte of what the model reads, and a template may write schemas with spaces and escapes.
    """
    prompt = len(to_json(body)) + TEMPLATE_TOKENS + MAX_IMAGE_TOKENS * _images(body)
    if grammars := [body[name] for name in GRAMMARS if body.get(name)]:
        prompt += len(json.dumps(grammars)) + GRAMMAR_TEMPLATE_TOKENS
    visible = max(body.get(name) or 0 for name in LIMITS) or answer_tokens
    reasoning = REASONING_TOKENS.get(body.get("reasoning_effort"), MAX_REASONING_TOKENS) if reasons else 0
    choices = body.get("n") or 1
    return Usage(prompt, choices * (visible + reasoning), reasoning_tokens=choices * reasoning)


def estimate_chat(body: Mapping[str, Any], completion_tokens: int) -> Usage:
    """Return the likely usage of all that was sent, and of the tokens received."""
    characters = sum(map(len, _texts(body.get("messages"))))
    characters += sum(len(to_json(body[name])) for name in GRAMMARS if body.get(name))
    prompt = ceil(characters / CHARACTERS_PER_TOKEN) + IMAGE_TOKENS * _images(body)
    return Usage(prompt, completion_tokens, estimated=True)


def _images(body: Mapping[str, Any]) -> int:
    return sum(isinstance(part, Mapping) and "image_url" in part for part in _parts(body.get("messages")))


def _parts(messages: object) -> Iterator[object]:
    """Yield the parts of the messages' contents, of any shape."""
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        yield from content if isinstance(content, list) else ()


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of messages of any shape, without roles, types and addresses of pictures."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, member in value.items():
            if name not in ("role", "type", "id", "tool_call_id", "image_url"):
                yield from _texts(member)
    elif isinstance(value, Sequence):
        for member in value:
            yield from _texts(member)
