"""A labelled row -> token ids: the served prompt's, then the answer's, then the end of the turn."""

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

UNTAUGHT = -100


class TooLong(ValueError):
    """A pair does not fit; nothing is ever cut silently."""


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `action` is the place of the action's token within the answer."""

    prompt: list[int]
    answer: list[int]
    action: int

    def columns(self) -> dict[str, Any]:
        """What the trainer is fed: labels and weights stand where the next token is the answer's.

        The weights of an answer sum to one, so that long answers do not drown short ones.
        """
        before, after = len(self.prompt) - 1, 1
        return {
            "input_ids": [*self.prompt, *self.answer],
            "labels": [*[UNTAUGHT] * before, *self.answer, *[UNTAUGHT] * after],
            "weights": [*[0.0] * before, *[1 / len(self.answer)] * len(self.answer), *[0.0] * after],
            "action_at": before + self.action,
        }


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


def first(pairs: Pairs | None, path: Path) -> list[dict[str, Any]]:
    """The first so many rows of each detail, in the file's order; all of them where `pairs` is None.

    Raises `ValueError` where the file has fewer.
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
        raise ValueError(f"{path} has too few pairs, wanting {dict(missing)} more")
    return taken


def load(path: Path, tokenizer: Any, max_length: int) -> list[Example]:
    return [encode(row, tokenizer, max_length) for row in read_rows(path)]


def table(examples: Sequence[Example]) -> Dataset:
    """A row a pair."""
    return Dataset.from_list([example.columns() for example in examples])


def packed(examples: Sequence[Example], length: int) -> Dataset:
    """Rows of up to `length` tokens, each of several whole pairs; `seq_lengths` says where they end."""
    rows = table(examples).remove_columns("action_at")
    return pack_dataset(rows, length, "bfd")


def collate(rows: list[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Pad on the right: with causal attention no mask is needed, which keeps the fast kernels in use.

    Returns input_ids, labels and weights, each (batch, length); `places`, ascending, where any row has labels;
    `shared`, how many tokens all rows begin with before the first label; `action_at` (batch,), where each action
    is predicted. Packed rows share nothing, and have `position_ids` that begin anew with each pair.
    """
    length = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filling: float) -> torch.Tensor:
        return torch.tensor([[*row[name], *[filling] * (length - len(row[name]))] for row in rows])

    ids, labels = padded("input_ids", pad), padded("labels", UNTAUGHT)
    places = (labels != UNTAUGHT).any(0).nonzero().squeeze(1)
    batch = {"input_ids": ids, "labels": labels, "weights": padded("weights", 0.0), "places": places, "shared": 0}
    if "seq_lengths" in rows[0]:
        counts = [[*row["seq_lengths"], *[1] * (length - len(row["input_ids"]))] for row in rows]
        batch["position_ids"] = torch.tensor([list(chain.from_iterable(map(range, row))) for row in counts])
    else:
        batch["shared"] = min(int((ids == ids[:1]).all(0).long().cumprod(0).sum()), int(places[0]))
        batch["action_at"] = torch.tensor([row["action_at"] for row in rows])
    return batch
