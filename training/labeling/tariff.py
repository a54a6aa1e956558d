"""What asking costs: at the dated list price, half of it in batches, in whole nano-dollars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.backends.dialects import openai_dialect
from app.contract.completion import Usage
from app.contract.recommendation import ANSWER_TOKENS, answer_schema
from app.pricing.prices import NANO, ListPrice, list_price, plain
from training.labeling.prompts import Prompt

FRAME_TOKENS = 64
"""What a server may put around messages and schema; some seven for one message in OpenAI's cookbook, and a heading."""

BYTES_A_TOKEN = 4
"""Of English, roughly, in OpenAI's help on tokens; figures take more tokens, and the schema's keywords fewer."""

TYPICAL_ANSWER = {"brief": 12, "full": 220}
"""Tokens of an answer as the prompt asks for it: two fields, or those after up to 120 words."""

STREAMED_ONLY = ("stream", "stream_options", "logprobs", "top_logprobs")


@dataclass(frozen=True)
class Tariff:
    """A model's price, whole or by the batch."""

    model: str
    price: ListPrice
    batch: bool

    @classmethod
    def of(cls, model: str, batch: bool) -> Tariff:
        """Raises `NotConfigured` for a model without a list price."""
        return cls(model, list_price(model), batch)

    def nano_usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> int:
        """Rounded up. Batches are billed at half the list price (OpenAI, Batch API), cached input too."""
        whole = self.price.cost(Usage(prompt_tokens, completion_tokens, cached_tokens)).nano_usd
        return -(-whole // 2) if self.batch else whole

    def at_most(self, prompt: Prompt) -> int:
        """The most that one call can cost, in nano-dollars: nothing cached, the answer at its limit."""
        return self.nano_usd(most_tokens(prompt), answer_limit(self.model, prompt))

    def about(self, prompt: Prompt) -> int:
        return self.nano_usd(likely_tokens(prompt), TYPICAL_ANSWER[prompt.detail])


def body(model: str, prompt: Prompt) -> dict[str, Any]:
    """The chat completion that the gateway would ask for, whole rather than streamed."""
    request = openai_dialect(model).request(model, prompt.messages, prompt.detail)
    return {name: value for name, value in request.items() if name not in STREAMED_ONLY}


def most_tokens(prompt: Prompt) -> int:
    """An upper bound in any byte-level tokenizer: no token is shorter than a byte."""
    return _bytes(prompt) + FRAME_TOKENS


def likely_tokens(prompt: Prompt) -> int:
    return -(-_bytes(prompt) // BYTES_A_TOKEN)


def answer_limit(model: str, prompt: Prompt) -> int:
    """Tokens after which the server cuts an answer off, those of thoughts among them."""
    return ANSWER_TOKENS[prompt.detail] + openai_dialect(model).reasoning_tokens


def _bytes(prompt: Prompt) -> int:
    schema = json.dumps(answer_schema(prompt.detail, bounded=False))
    return len(schema) + sum(len(message["content"].encode()) for message in prompt.messages)


def in_usd(nano_usd: int) -> str:
    return plain(Decimal(nano_usd).scaleb(-9))


def nano(usd: Decimal) -> int:
    """Whole nano-dollars within an amount."""
    return int(usd * NANO)
