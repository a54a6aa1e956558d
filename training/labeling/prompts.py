"""Prompts to label from the rows of a data set; rows with the same prompt share it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from app.contract.features import Metrics
from app.contract.prompt import Detail, Message, messages
from app.contract.recommendation import answer_schema
from training.artifacts import faults

MAX_LISTED = 20
"""Invalid rows that are listed; the others are counted."""


class UnusableRows(ValueError):
    """Invalid rows; the message names file, line and field of each."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    ticker: str
    as_of: date
    detail: Detail
    metrics: Metrics


@dataclass(frozen=True)
class Prompt:
    """A teacher's prompt: the served messages and the enforced schema."""

    ticker: str
    metrics: Metrics
    detail: Detail

    @cached_property
    def messages(self) -> list[Message]:
        return messages(self.metrics, self.ticker, self.detail)

    @cached_property
    def hash(self) -> str:
        """sha256 of messages and schema as canonical JSON."""
        document = {"messages": self.messages, "schema": answer_schema(self.detail, bounded=False)}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Question:
    """The `repeat`-th request of a prompt; the answer of repeat 0 becomes the label."""

    prompt: Prompt
    repeat: int = 0

    @property
    def key(self) -> str:
        """Key in the journal and in a batch, with 160 bits of the hash."""
        return f"{self.prompt.detail}-{self.repeat}-{self.prompt.hash[:40]}"


def metrics_of(row: dict[str, Any]) -> Metrics:
    """Return a row's metrics, parsed as the gateway parses them."""
    return Metrics.model_validate_json(json.dumps(row["metrics"]))


def prompt_of(row: dict[str, Any]) -> Prompt:
    return Prompt(row["ticker"], metrics_of(row), row["detail"])


def read(path: Path) -> list[dict[str, Any]]:
    """Return the validated rows of a file. Raises `UnusableRows` naming every invalid field."""
    rows, wrong = [], []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            _Row.model_validate_json(line)
            rows.append(json.loads(line))
        except ValidationError as error:
            wrong += [f"{path}:{number}: {problem}" for problem in faults(error, "row")]
    if wrong:
        more = [f"and {len(wrong) - MAX_LISTED} more"] if len(wrong) > MAX_LISTED else []
        raise UnusableRows("\n".join([*wrong[:MAX_LISTED], *more]))
    return rows


def questions(prompts: Iterable[Prompt], repeat: int = 1, sample: int = 0) -> list[Question]:
    """Return each distinct prompt once, and `sample` of them `repeat` times in all.

    The sample consists of the prompts with the smallest hashes, which is random but reproducible.
    """
    distinct = {prompt.hash: prompt for prompt in prompts}
    again = [distinct[name] for name in sorted(distinct)[:sample]]
    first = [Question(prompt) for prompt in distinct.values()]
    return first + [Question(prompt, time) for time in range(1, repeat) for prompt in again]
