"""Tokenization of labelled rows: served prompt, answer, end of turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import pack_dataset

from app.contract.prompt import messages
from training.artifacts import read_rows
from training.config import Pairs
from training.labeling.prompts import metrics_of

IGNORE_INDEX = -100


class TooLong(ValueError):
    """A pair is longer than `max_length`; pairs are never truncated."""


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `action` is the index of the action's token within the answer."""

    prompt: list[int]
    answer: list[int]
    action: int

    def columns(self) -> dict[str, Any]:
        """Return the trainer's columns; labels and weights are set where the next token belongs to the answer.

        The weights of an answer sum to one, so that long and short answers count equally.
        """
        before, after = len(self.prompt) - 1, 1
        return {
            "input_ids": [*self.prompt, *self.answer],
            "labels": [*[IGNORE_INDEX] * before, *self.answer, *[IGNORE_INDEX] * after],
            "weights": [*[0.0] * before, *[1 / len(self.answer)] * len(self.answer), *[0.0] * after],
            "action_position": before + self.action,
        }


def encode(row: dict[str, Any], tokenizer: Any, max_length: int) -> Example:
    """Tokenize a row as served: chat template, canonical JSON answer, end of turn."""
    chat = messages(metrics_of(row), row["ticker"], row["detail"])
    prompt = list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])
    encoded = tokenizer(row["answer"], add_special_tokens=False, return_offsets_mapping=True)
    answer = [*encoded["input_ids"], tokenizer.eos_token_id]
    if len(prompt) + len(answer) > max_length:
        raise TooLong(f"{row['ticker']} {row['as_of']}: {len(prompt) + len(answer)} tokens, {max_length} allowed")
    at = row["answer"].rindex('"action":"') + len('"action":"')
    position = next(i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start <= at < end)
    return Example(prompt, answer, position)


def first(pairs: Pairs | None, path: Path) -> list[dict[str, Any]]:
    """Return the first rows of each detail, as many as `pairs` states, in file order; all rows if it is None.

    Raises `ValueError` if the file has fewer.
    """
    rows = list(read_rows(path))
    if pairs is None:
        return rows
    taken, left = [], Counter(pairs.model_dump())
    for row in rows:
        if left[row["detail"]] > 0:
            left[row["detail"]] -= 1
            taken.append(row)
    if missing := +left:
        raise ValueError(f"{path} has too few pairs: {dict(missing)} more are required")
    return taken


def load(path: Path, tokenizer: Any, max_length: int) -> list[Example]:
    return [encode(row, tokenizer, max_length) for row in read_rows(path)]


def table(examples: Sequence[Example]) -> Dataset:
    """Return a dataset with one row per pair."""
    return Dataset.from_list([example.columns() for example in examples])


def packed(examples: Sequence[Example], length: int) -> Dataset:
    """Return rows of up to `length` tokens, each of several whole pairs; `seq_lengths` holds the pairs' lengths."""
    rows = table(examples).remove_columns("action_position")
    return pack_dataset(rows, length, "bfd")


def collate(rows: list[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Pad rows on the right; with causal attention no mask is needed, which keeps the fast kernels in use.

    Returns input_ids, labels and weights, each (batch, length); `logit_positions`, the ascending positions at which
    any row has a label; `shared_prefix`, the number of leading tokens common to all rows and before the first label;
    `action_position` (batch,), where each action is predicted. Packed rows have no shared prefix, and `position_ids`
    that restart with each pair.
    """
    length = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filling: float) -> torch.Tensor:
        return torch.tensor([[*row[name], *[filling] * (length - len(row[name]))] for row in rows])

    ids, labels = padded("input_ids", pad), padded("labels", IGNORE_INDEX)
    logit_positions = (labels != IGNORE_INDEX).any(0).nonzero().squeeze(1)
    batch = {
        "input_ids": ids,
        "labels": labels,
        "weights": padded("weights", 0.0),
        "logit_positions": logit_positions,
        "shared_prefix": 0,
    }
    if "seq_lengths" in rows[0]:
        counts = [[*row["seq_lengths"], *[1] * (length - len(row["input_ids"]))] for row in rows]
        batch["position_ids"] = torch.tensor([list(chain.from_iterable(map(range, row))) for row in counts])
    else:
        batch["shared_prefix"] = min(int((ids == ids[:1]).all(0).long().cumprod(0).sum()), int(logit_positions[0]))
        batch["action_position"] = torch.tensor([row["action_position"] for row in rows])
    return batch
