"""Tokenization of labelled rows: served prompt, answer, end of turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import pack_dataset

from app.contract.prompt import messages
from training.artifacts import read_rows
from training.config.finetune import Pairs
from training.finetune.supervision import (
    SoftTarget,
    Step,
    answer_steps,
    decisions,
    soft_targets,
    steps,
    token_at,
    token_weights,
)
from training.finetune.tokens import continuation
from training.labeling.prompts import metrics_of

IGNORE_INDEX = -100


class TooLong(ValueError):
    """A pair is longer than `max_length`; pairs are never truncated."""


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `action` is the index of the action's token within the answer.

    `weights` are those of the answer's tokens. Tokens with a soft target have the target's loss instead.
    """

    prompt: list[int]
    answer: list[int]
    action: int
    weights: list[float]
    soft: tuple[SoftTarget, ...] = ()
    steps: tuple[Step, ...] = ()

    def columns(self) -> dict[str, Any]:
        """Return the trainer's columns; labels and weights are set where the next token belongs to the answer.

        `soft` holds [position, token, weight], `scores` [position, score, weight], `votes` [position, vote].
        """
        before, after = len(self.prompt) - 1, 1
        hard = list(self.weights)
        soft = []
        for target in self.soft:
            hard[target.index] = 0.0
            weight = self.weights[target.index]
            soft += [[float(before + target.index), float(t), weight * p] for t, p in target.probabilities.items()]
        return {
            "input_ids": [*self.prompt, *self.answer],
            "labels": [*[IGNORE_INDEX] * before, *self.answer, *[IGNORE_INDEX] * after],
            "weights": [*[0.0] * before, *hard, *[0.0] * after],
            "action_position": before + self.action,
            "soft": soft,
            "scores": [[float(step.position), float(step.score), step.weight] for step in self.steps],
            "votes": [[float(step.position), float(step.vote)] for step in self.steps if step.vote is not None],
        }


def encode(row: dict[str, Any], tokenizer: Any, max_length: int, softly: bool = True) -> Example:
    """Tokenize a row as served: chat template, canonical JSON answer, end of turn; without soft targets if asked."""
    chat, answer = messages(metrics_of(row), row["ticker"], row["detail"]), row["answer"]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    encoded, spans = continuation(tokenizer, answer)
    ids, tokens = list(prompt["input_ids"]), [*encoded, tokenizer.eos_token_id]
    if len(ids) + len(tokens) > max_length:
        raise TooLong(f"{row['ticker']} {row['as_of']}: {len(ids) + len(tokens)} tokens, {max_length} allowed")
    action = token_at(spans, decisions(answer)[0])
    weights = token_weights(answer, spans)
    soft = row.get("soft", {})
    targets = tuple(soft_targets(answer, spans, soft, tokenizer)) if softly else ()
    if (votes := soft.get("votes")) is None:
        return Example(ids, tokens, action, weights, targets)
    reading = steps(text, chat[0]["content"], prompt["offset_mapping"], votes)
    return Example(ids, tokens, action, weights, targets, (*reading, *answer_steps(len(ids), answer, spans, votes)))


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
    """Return rows of up to `length` tokens, each of several whole pairs; `seq_lengths` holds the pairs' lengths.

    Packed rows have hard labels only.
    """
    rows = table([replace(example, soft=()) for example in examples])
    rows = rows.remove_columns(["action_position", "soft", "scores", "votes"])
    return pack_dataset(rows, length, "bfd")


def collate(rows: list[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Pad rows on the right; with causal attention no mask is needed, which keeps the fast kernels in use.

    Returns input_ids, labels and weights, each (batch, length); `logit_positions`, the ascending positions at which
    any row has a label; `shared_prefix`, the number of leading tokens common to all rows and before the first label or
    step; `action_position` (batch,), where each action is predicted; `soft`, `scores` and `votes`, the rows' entries
    with the row's index first. Packed rows have no shared prefix, no steps, and `position_ids` that restart with each
    pair.
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
        first_step = min((int(step[0]) for row in rows for step in row["scores"]), default=length)
        shared = int((ids == ids[:1]).all(0).long().cumprod(0).sum())
        batch["shared_prefix"] = min(shared, int(logit_positions[0]), first_step)
        batch["action_position"] = torch.tensor([row["action_position"] for row in rows])
        batch |= {name: _flat(rows, name, width) for name, width in (("soft", 4), ("scores", 4), ("votes", 3))}
    return batch


def parts(batch: dict[str, Any], tokens: int) -> list[dict[str, Any]]:
    """Return the batch in parts of up to `tokens` tokens, padding included; `share` is a part's share of the rows.

    Packed rows stay one batch.
    """
    count, length = batch["input_ids"].shape
    size = max(1, tokens // length)
    if size >= count or "position_ids" in batch:
        return [batch]
    return [_part(batch, start, min(start + size, count)) for start in range(0, count, size)]


def _part(batch: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    part = {"share": (end - start) / len(batch["input_ids"])}
    for name, value in batch.items():
        if name in ("input_ids", "labels", "weights", "action_position"):
            part[name] = value[start:end]
        elif name in ("soft", "scores", "votes"):
            inside = value[(value[:, 0] >= start) & (value[:, 0] < end)]
            part[name] = torch.cat([inside[:, :1] - start, inside[:, 1:]], 1)
        else:
            part[name] = value
    return part


def _flat(rows: list[dict[str, Any]], name: str, width: int) -> torch.Tensor:
    """Return a column's entries of all rows, each with its row's index first: (entries, width) in float64."""
    entries = [[float(index), *entry] for index, row in enumerate(rows) for entry in row[name]]
    return torch.tensor(entries, dtype=torch.float64).reshape(-1, width)
