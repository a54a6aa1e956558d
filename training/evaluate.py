"""How often a served model's action is the teacher's, on tickers it never saw: any backend by URL."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app import rules
from app.contract.features import Metrics
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS, Answer, parse
from app.market import InsufficientHistory
from app.market.parquet import ParquetProvider
from app.market.snapshot import OptionSource, snapshot
from training.artifacts import Artifacts, read_rows
from training.asking import Asked, Asker, connect
from training.progress import Ticking
from training.teacher import metrics_of

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Pair:
    """One question and the teacher's answer to it."""

    ticker: str
    metrics: Metrics
    truth: Answer


def pairs_of_market(market: Path, options: OptionSource, detail: Detail, count: int, seed: int) -> list[Pair]:
    """`count` snapshots of a market folder, tickers in turn at random closes, answered by the rules."""
    provider = ParquetProvider(market)
    draw = random.Random(f"{seed}/evaluate")  # noqa: S311 - reproducible, not secret
    tickers = provider.tickers()
    draw.shuffle(tickers)
    pairs: list[Pair] = []
    for attempt in range(4 * count):
        if len(pairs) == count:
            break
        ticker = tickers[attempt % len(tickers)]
        bars = provider.bars(ticker, None)
        last: date = bars.index[-1].date()
        as_of = last - timedelta(days=draw.randrange(max(1, (last - bars.index[0].date()).days - 365)))
        try:
            metrics = snapshot(provider, ticker, as_of, options).metrics
        except InsufficientHistory:
            continue
        pairs.append(Pair(ticker, metrics, rules.answer(metrics, detail)))
    if not pairs:
        raise ValueError(f"no ticker in {market} has enough history")
    return pairs


def pairs_of_run(artifacts: Artifacts, detail: Detail) -> list[Pair]:
    """The labelled test split of a run: tickers and dates that its training did not see."""
    artifacts.manifest("label")
    rows = [row for row in read_rows(artifacts.folder / "label" / "test.jsonl") if row["detail"] == detail]
    return [Pair(row["ticker"], metrics_of(row), parse(detail, row["answer"])) for row in rows]


async def ask_all(asker: Asker, pairs: Sequence[Pair], detail: Detail, concurrency: int) -> list[Asked]:
    """Ask for every pair, `concurrency` at a time; what fails is kept as a failure."""
    limit = asyncio.Semaphore(concurrency)
    ticking = Ticking(len(pairs), f"evaluate {detail}")

    async def one(pair: Pair) -> Asked:
        async with limit:
            asked = await asker.ask(pair.ticker, pair.metrics, detail)
            ticking.tick()
            return asked

    return list(await asyncio.gather(*(one(pair) for pair in pairs)))


async def evaluate(
    url: str, backend: str | None, pairs: Sequence[Pair], detail: Detail, concurrency: int, key: str | None
) -> dict[str, Any]:
    """The report: agreement with its interval, what stands beside it, and the speed it was measured at."""
    async with httpx.AsyncClient(timeout=600) as client:
        asker = await connect(client, url, backend, key)
        start = time.monotonic()
        asked = await ask_all(asker, pairs, detail, concurrency)
        seconds = time.monotonic() - start
    return {
        "url": url,
        "model": asker.model,
        "teacher": rules.MODEL_ID,
        "detail": detail,
        **report(pairs, asked),
        "speed": _speed(asked, seconds, concurrency),
    }


def report(pairs: Sequence[Pair], asked: Sequence[Asked]) -> dict[str, Any]:
    """Agreement and what belongs beside it; an answer that could not be had or read counts as wrong."""
    truth = [pair.truth.action for pair in pairs]
    said = [one.action or "failed" for one in asked]
    hits = np.array([a == b for a, b in zip(truth, said, strict=True)], dtype=float)
    commonest, count = Counter(truth).most_common(1)[0]
    both = [(p.truth.conviction, a.conviction) for p, a in zip(pairs, asked, strict=True) if a.conviction]
    return {
        "agreement": clustered(hits, [pair.ticker for pair in pairs]),
        "majority_baseline": {"action": commonest, "value": round(count / len(truth), 4)},
        "confusion": {t: {s: _count(truth, said, t, s) for s in (*ACTIONS, "failed")} for t in ACTIONS},
        "failures": dict(Counter(one.failure for one in asked if one.failure)),
        "conviction_mean_absolute_error": round(float(np.mean([abs(a - b) for a, b in both])), 3) if both else None,
    }


def clustered(hits: np.ndarray[Any, np.dtype[np.float64]], tickers: Sequence[str]) -> dict[str, float | int]:
    """Mean and bootstrap interval, resampling whole tickers: several dates of one ticker are correlated."""
    names = sorted(set(tickers))
    place = {name: index for index, name in enumerate(names)}
    owner = np.array([place[ticker] for ticker in tickers])
    sums = np.bincount(owner, hits, len(names))
    sizes = np.bincount(owner, minlength=len(names))
    draws = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return {
        "value": round(float(hits.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(hits),
        "tickers": len(names),
    }


def _count(truth: Sequence[str], said: Sequence[str], true: str, spoken: str) -> int:
    return sum(t == true and s == spoken for t, s in zip(truth, said, strict=True))


def _speed(asked: Sequence[Asked], seconds: float, concurrency: int) -> dict[str, Any]:
    """Tokens of prompts and answers, and the tokens an hour that this load amounts to."""
    prompt, completion = sum(a.prompt_tokens for a in asked), sum(a.completion_tokens for a in asked)
    return {
        "concurrency": concurrency,
        "seconds": round(seconds, 1),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "tokens_per_hour": int((prompt + completion) / seconds * 3600),
        "median_seconds": round(float(np.median([a.seconds for a in asked])), 3),
    }
