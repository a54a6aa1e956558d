"""Estimate of a call's tokens, for calls that ended before the server reported them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from app.contract.completion import Usage

CHARACTERS_PER_TOKEN = 3
"""The contract's prompts have 2.4 to 3.4 with Mistral's tokenizer, plain English about 4."""


def estimate_usage(messages: object, events: int) -> Usage:
    """Return the usage of the sent messages and the received text events, which hold one or a few tokens each."""
    return Usage(ceil(count_characters(messages) / CHARACTERS_PER_TOKEN), events, estimated=True)


def count_characters(messages: object) -> int:
    """Return the length of the text in messages of any shape, 0 for anything else."""
    if isinstance(messages, str):
        return len(messages)
    if isinstance(messages, Mapping):
        return count_characters(messages.get("content") or messages.get("text"))
    return sum(map(count_characters, messages)) if isinstance(messages, Sequence) else 0
