"""How often a served model's action is the teacher's, on tickers it never saw: any backend by URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.contract.prompt import Detail
from app.pricing.prices import CapacityPrice, list_price
from training.evaluation import consistency, rows
from training.evaluation.asking import Asker, connect
from training.evaluation.frontier import frontier
from training.evaluation.pairs import Pair
from training.evaluation.rows import Key, Row
from training.evaluation.scores import scores
from training.progress import Ticking


@dataclass(frozen=True)
class Question:
    """How the pairs are put to a backend."""

    detail: Detail
    concurrency: int = 8
    consistency: int = 0
    """Pairs that are asked again in each of the ways that should not change the answer."""


@dataclass(frozen=True)
class Evaluation:
    """The figures, and the rows they are made from."""

    document: dict[str, Any]
    rows: list[Row]

    def cascade(self, usd_per_hour: Decimal, api: str) -> dict[str, Any] | None:
        """The frontier of a cascade from this model, at the machine's hourly price, to an API model; None where it
        was not asked in brief, as a cascade asks, or gave no probabilities."""
        if self.document["detail"] != "brief":
            return None
        hosted = CapacityPrice(usd_per_hour, Decimal(self.document["speed"]["tokens_per_hour"]))
        return frontier(self.rows, hosted, list_price(api))


async def evaluate(
    url: str, backend: str | None, key: str | None, pairs: Sequence[Pair], question: Question, unfinished: Path
) -> Evaluation:
    """Ask for every pair. Answers are appended to the file `unfinished` as they come; those that it already holds of
    the same model are taken from it, so that an evaluation that was cut off goes on where it stopped.

    Raises `Unreachable` where nobody answers at `url`, `ValueError` where there is nothing to ask.
    """
    teachers = sorted({pair.teacher for pair in pairs})
    if len(teachers) != 1:
        raise ValueError(f"the pairs must have one teacher, not {', '.join(teachers) or 'none: there are no pairs'}")
    async with httpx.AsyncClient(timeout=600) as client:
        asker = await connect(client, url, backend, key)
        known = _known(unfinished, asker.model, question.detail)
        begun = max((row.at for row in known.values()), default=0.0)
        with appending(unfinished) as keep:
            answered = await ask_all(asker, pairs, question, known=known, begun=begun, keep=keep)
        document = {
            "url": url,
            "model": asker.model,
            "teacher": teachers[0],
            "detail": question.detail,
            **scores(answered),
            "speed": _speed(answered, question.concurrency),
        }
        if question.consistency:
            document["consistency"] = await _consistency(asker, pairs, answered, question)
    return Evaluation(document, answered)


async def ask_all(
    asker: Asker,
    pairs: Sequence[Pair],
    question: Question,
    *,
    known: Mapping[Key, Row] | None = None,
    begun: float = 0.0,
    keep: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """A row for every pair, in their order, `concurrency` asked at a time; what fails is a row that says so."""
    limit, start = asyncio.Semaphore(question.concurrency), time.monotonic() - begun
    ticking = Ticking(len(pairs), f"evaluate {question.detail}")

    async def one(pair: Pair) -> Row:
        async with limit:
            row = (known or {}).get(rows.key_of(pair))
            if row is None:
                asked = await asker.ask(pair.ticker, pair.metrics, question.detail)
                row = rows.row(pair, asked, question.detail, asker.model, time.monotonic() - start)
                keep(row)
            ticking.tick()
            return row

    tasks = [asyncio.create_task(one(pair)) for pair in pairs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


@contextmanager
def appending(path: Path) -> Iterator[Callable[[Row], None]]:
    """Adds a row to the file at each call, at once: a kill loses none that was added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:

        def keep(row: Row) -> None:
            file.write(row.model_dump_json() + "\n")
            file.flush()

        yield keep


def _known(unfinished: Path, model: str, detail: Detail) -> dict[Key, Row]:
    """The answers that an evaluation of the same model left behind; the file then holds them and nothing torn.
    Questions that nothing was written to, as where the server died, are not among them: they are asked again."""
    if not unfinished.exists():
        return {}
    answered = (row for row in rows.read_unfinished(unfinished) if row.said or row.completion_tokens)
    left = [row for row in answered if (row.model, row.detail) == (model, detail)]
    rows.write(unfinished, left)
    return {row.key: row for row in left}


async def _consistency(
    asker: Asker, pairs: Sequence[Pair], answered: Sequence[Row], question: Question
) -> dict[str, Any]:
    asked, before = pairs[: question.consistency], answered[: question.consistency]
    found = {}
    for name, changed in consistency.changes(asked).items():
        after = await ask_all(asker, changed, question)
        found[name] = consistency.unchanged(before, after, changed)
    return found


def _speed(answered: Sequence[Row], concurrency: int) -> dict[str, Any]:
    """Tokens of prompts and answers, and the tokens an hour that this load amounts to."""
    prompt, completion = sum(a.prompt_tokens for a in answered), sum(a.completion_tokens for a in answered)
    seconds = max(row.at for row in answered)
    return {
        "concurrency": concurrency,
        "seconds": round(seconds, 3),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "tokens_per_hour": int((prompt + completion) / seconds * 3600),
        "median_seconds": round(float(np.median([a.seconds for a in answered])), 3),
    }
