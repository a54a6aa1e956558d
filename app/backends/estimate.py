"""What a call has used, as far as one can tell who was not told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from app.contract.completion import Usage

CHARACTERS_A_TOKEN = 3
"""The contract's prompts have 2.4 to 3.4 in Mistral's tokenizer, plain English about 4."""


def estimated(messages: object, pieces: int) -> Usage:
    """Of the messages sent, and the pieces of text that have come: servers send a token in one, or a few."""
    return Usage(ceil(characters(messages) / CHARACTERS_A_TOKEN), pieces, estimated=True)


def characters(said: object) -> int:
    """The length of the text in messages, however they hold it; nothing that is no text counts."""
    if isinstance(said, str):
        return len(said)
    if isinstance(said, Mapping):
        return characters(said.get("content") or said.get("text"))
    return sum(map(characters, said)) if isinstance(said, Sequence) else 0
