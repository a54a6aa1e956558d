"""Evaluation of any backend by URL: how often its action is the teacher's."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.contract.calibration import Calibration
from app.contract.prompt import Detail
from app.pricing.prices import CapacityPrice, list_price
from training.evaluation import calibration, consistency, rows
from training.evaluation.clients import ModelClient, connect
from training.evaluation.frontier import API_MODEL, frontier
from training.evaluation.pairs import Pair
from training.evaluation.rows import Key, Row, Source
from training.evaluation.scores import scores
from training.progress import progress


@dataclass(frozen=True)
class EvaluationOptions:
    """Settings of one evaluation."""

    detail: Detail
    concurrency: int = 8
    consistency: int = 0
    """Number of pairs asked again under each change that should not affect the answer."""
    form: str | None = None
    dtype: str | None = None
    """Form and dtype of the served weights, where known."""
    calibration: Calibration | None = None
    """Applied to the probabilities, as the gateway does for a published model."""


@dataclass(frozen=True)
class Evaluation:
    """The scores and the rows they are computed from."""

    document: dict[str, Any]
    rows: list[Row]

    def cascade(self, usd_per_hour: Decimal) -> dict[str, Any] | None:
        """Return the cost frontier of a cascade from this model to an API model, at the machine's hourly price.

        Returns None for full answers, because a cascade asks in brief, and without probabilities.
        """
        if self.document["detail"] != "brief":
            return None
        hosted = CapacityPrice(usd_per_hour, Decimal(self.document["speed"]["tokens_per_hour"]))
        return frontier(self.rows, hosted, list_price(API_MODEL))


async def evaluate(
    url: str, backend: str | None, key: str | None, pairs: Sequence[Pair], options: EvaluationOptions, unfinished: Path
) -> Evaluation:
    """Evaluate a backend on every pair.

    Answers are appended to the file `unfinished` as they arrive; answers of the same model, form and dtype that it
    already holds are reused, which resumes an interrupted evaluation. Raises `Unreachable` if no backend answers at
    `url`, `ValueError` if the pairs do not have exactly one teacher.
    """
    teachers = sorted({pair.teacher for pair in pairs})
    if len(teachers) != 1:
        raise ValueError(f"the pairs must have one teacher, not {', '.join(teachers) or 'none: there are no pairs'}")
    async with httpx.AsyncClient(timeout=600) as client:
        model_client = await connect(client, url, backend, key)
        source = Source(model_client.model, options.detail, options.form, options.dtype)
        known = _recover(unfinished, source)
        elapsed = max((row.at for row in known.values()), default=0.0)
        with row_appender(unfinished) as append:
            answered = await predict_all(
                model_client, pairs, source, options.concurrency, known=known, elapsed=elapsed, append=append
            )
        if options.calibration:
            answered = calibration.applied(options.calibration, answered)
        document = {
            "url": url,
            "model": model_client.model,
            "teacher": teachers[0],
            "detail": options.detail,
            "served": {name: value for name in ("form", "dtype") if (value := getattr(options, name))} or None,
            "calibrated": options.calibration and options.calibration.model_dump(),
            **scores(answered),
            "speed": _speed(answered, options.concurrency),
        }
        if options.consistency:
            few, before = pairs[: options.consistency], answered[: options.consistency]
            document["consistency"] = {
                name: consistency.stability(
                    before, await predict_all(model_client, changed, source, options.concurrency), changed
                )
                for name, changed in consistency.perturbations(few).items()
            }
    return Evaluation(document, answered)


async def predict_all(
    model_client: ModelClient,
    pairs: Sequence[Pair],
    source: Source,
    concurrency: int,
    *,
    known: Mapping[Key, Row] | None = None,
    elapsed: float = 0.0,
    append: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """Return a row for every pair, in order, with at most `concurrency` requests in flight; failures are rows too."""
    limit, start = asyncio.Semaphore(concurrency), time.monotonic() - elapsed

    async def one(pair: Pair) -> Row:
        async with limit:
            row = (known or {}).get(rows.key_of(pair))
            if row is None:
                prediction = await model_client.ask(None if pair.blind else pair.ticker, pair.metrics, source.detail)
                row = rows.row(pair, prediction, source, time.monotonic() - start)
                append(row)
            bar.update()
            return row

    with progress(f"evaluate {source.detail}", total=len(pairs)) as bar:
        tasks = [asyncio.create_task(one(pair)) for pair in pairs]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()


@contextmanager
def row_appender(path: Path) -> Iterator[Callable[[Row], None]]:
    """Yield a function that appends a row to the file and flushes it, so that a kill loses none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:

        def append(row: Row) -> None:
            file.write(row.model_dump_json() + "\n")
            file.flush()

        yield append


def _recover(unfinished: Path, source: Source) -> dict[Key, Row]:
    """Return the answers that an interrupted evaluation of the same source left, and rewrite the file with only those.

    Failures without tokens, such as a refused connection, are left out, so that they are asked again. Answers of
    another source are named on standard error and discarded.
    """
    if not unfinished.exists():
        return {}
    answered = [row for row in rows.read_unfinished(unfinished) if row.predicted or row.completion_tokens]
    for other in {row.source for row in answered} - {source}:
        text = f"{unfinished}: answers of {_named(other)} are discarded, because this evaluates {_named(source)}"
        print(text, file=sys.stderr, flush=True)
    left = [row for row in answered if row.source == source]
    rows.write(unfinished, left)
    return {row.key: row for row in left}


def _named(source: Source) -> str:
    return " ".join(filter(None, source))


def _speed(answered: Sequence[Row], concurrency: int) -> dict[str, Any]:
    """Return tokens, seconds, and the tokens per hour at this load."""
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
