"""Prices of teacher calls: the dated list price, half in batches, in whole nano-dollars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.backends.dialects import openai_dialect
from app.contract.completion import Usage
from app.contract.recommendation import ANSWER_TOKENS, answer_schema
from app.pricing.prices import NANO, ListPrice, list_price
from training.labeling.prompts import Prompt

FRAME_TOKENS = 64
"""Allowance for the server's framing of messages and schema (about seven tokens a message in OpenAI's cookbook)."""

BYTES_A_TOKEN = 4
"""Rough average for English (OpenAI help); digits need more tokens, schema keywords fewer."""

TYPICAL_ANSWER = {"brief": 12, "full": 220}
"""Typical answer tokens: two fields, or those after up to 120 words of analysis."""

STREAMED_ONLY = ("stream", "stream_options")
TOP_LOGPROBS = 5
"""Alternatives requested per token, which is enough for three actions."""


@dataclass(frozen=True)
class Tariff:
    """A model's list price, direct or in batches."""

    model: str
    price: ListPrice
    batch: bool

    @classmethod
    def of(cls, model: str, batch: bool) -> Tariff:
        """Return the tariff. Raises `NotConfigured` for a model without a list price."""
        return cls(model, list_price(model), batch)

    def nano_usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> int:
        """Return the cost, rounded up; batches cost half the list price (OpenAI, Batch API), cached input included."""
        whole = self.price.cost(Usage(prompt_tokens, completion_tokens, cached_tokens)).nano_usd
        return -(-whole // 2) if self.batch else whole

    def at_most(self, prompt: Prompt) -> int:
        """Return the worst-case cost of a call in nano-dollars: nothing cached, the longest answer."""
        return self.nano_usd(most_tokens(prompt), answer_limit(self.model, prompt))

    def about(self, prompt: Prompt) -> int:
        return self.nano_usd(likely_tokens(prompt), TYPICAL_ANSWER[prompt.detail])


def body(model: str, prompt: Prompt, *, batch: bool = False) -> dict[str, Any]:
    """Return the request body that the gateway would send, without streaming and with fewer alternatives.

    A batch's full answers have none: about 50 KB each, in a file that is read whole.
    """
    request = openai_dialect(model).request(model, prompt.messages, prompt.detail)
    request = {name: value for name, value in request.items() if name not in STREAMED_ONLY}
    if batch and prompt.detail == "full":
        return {name: value for name, value in request.items() if name not in ("logprobs", "top_logprobs")}
    return request | ({"top_logprobs": TOP_LOGPROBS} if "top_logprobs" in request else {})


def most_tokens(prompt: Prompt) -> int:
    """Return an upper bound of prompt tokens: a byte-level token has at least one byte."""
    return _bytes(prompt) + FRAME_TOKENS


def likely_tokens(prompt: Prompt) -> int:
    return -(-_bytes(prompt) // BYTES_A_TOKEN)


def answer_limit(model: str, prompt: Prompt) -> int:
    """Return the answer's token limit, reasoning included."""
    return ANSWER_TOKENS[prompt.detail] + openai_dialect(model).reasoning_tokens


def _bytes(prompt: Prompt) -> int:
    schema = json.dumps(answer_schema(prompt.detail, bounded=False))
    return len(schema) + sum(len(message["content"].encode()) for message in prompt.messages)


def nano(usd: Decimal) -> int:
    """Return the amount in nano-dollars, rounded down."""
    return int(usd * NANO)
