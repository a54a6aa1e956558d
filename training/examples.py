"""A labelled row -> token ids: the served prompt's, then the answer's, then the end of the turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.contract.prompt import messages
from training.artifacts import read_rows
from training.teacher import metrics_of


class TooLong(Exception):
    """A pair does not fit; nothing is ever cut silently."""


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `action` is the place of the action's token within the answer."""

    prompt: list[int]
    answer: list[int]
    action: int


def encode(row: dict[str, Any], tokenizer: Any, max_length: int) -> Example:
    """Tokens as served: the tokenizer's own chat template, the answer's canonical JSON, end of turn."""
    chat = messages(metrics_of(row), row["ticker"], row["detail"])
    prompt = list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])
    encoded = tokenizer(row["answer"], add_special_tokens=False, return_offsets_mapping=True)
    answer = [*encoded["input_ids"], tokenizer.eos_token_id]
    if len(prompt) + len(answer) > max_length:
        raise TooLong(f"{row['ticker']} {row['as_of']}: {len(prompt) + len(answer)} tokens, {max_length} allowed")
    at = row["answer"].rindex('"action":"') + len('"action":"')
    place = next(i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start <= at < end)
    return Example(prompt, answer, place)


def load(path: Path, tokenizer: Any, max_length: int) -> list[Example]:
    return [encode(row, tokenizer, max_length) for row in read_rows(path)]


class Rows(torch.utils.data.Dataset[dict[str, Any]]):  # type: ignore[misc]
    """Examples as the trainer wants them: it groups those of like length by their `input_ids`."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        return {"input_ids": [*example.prompt, *example.answer], "example": example}


def collate(rows: list[dict[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """Pad on the right: with causal attention no mask is needed, which keeps the fast kernels in use.

    Returns input_ids and labels, each (batch, length), labels -100 but where the next token is the answer's;
    `places`, ascending, where any row has labels; `action_at` (batch,), where each action is predicted.
    """
    examples: list[Example] = [row["example"] for row in rows]
    length = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), length), pad)
    labels = torch.full_like(ids, -100)
    for index, (row, example) in enumerate(zip(rows, examples, strict=True)):
        ids[index, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        first = len(example.prompt) - 1
        labels[index, first : first + len(example.answer)] = torch.tensor(example.answer)
    return {
        "input_ids": ids,
        "labels": labels,
        "places": (labels != -100).any(0).nonzero().squeeze(1),
        "action_at": torch.tensor([len(e.prompt) - 1 + e.action for e in examples]),
    }
