"""Evaluation pairs: questions with the teacher's answers, from a split of a run or a market folder."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pydantic import ValidationError

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.prompt import Detail
from app.contract.recommendation import Answer, UnparsedAnswer, parse
from app.market import InsufficientHistory
from app.market.snapshot import take_snapshot
from app.market.source import OptionSource
from training.artifacts import Artifacts, read_rows
from training.dataset.market import open_market


@dataclass(frozen=True)
class Pair:
    """A question with the teacher's answer."""

    ticker: str
    metrics: Metrics
    truth: Answer
    teacher: str = rules.MODEL_ID
    """Model id of the teacher."""
    blind: bool = False
    """Whether the prompt omits the ticker."""


def pairs_of_market(market: Path, options: OptionSource, detail: Detail, count: int, seed: int) -> list[Pair]:
    """Return at most `count` distinct snapshots at random closes, tickers in turn, answered by the rules.

    Raises `UnusableMarket` naming files and columns, `ValueError` if no ticker has enough history.
    """
    provider = open_market(market)
    draw = random.Random(f"{seed}/evaluate")  # noqa: S311 - reproducible, not secret
    tickers = provider.tickers()
    draw.shuffle(tickers)
    pairs: dict[tuple[str, date | None], Pair] = {}
    for attempt in range(4 * count):
        if len(pairs) == count:
            break
        ticker = tickers[attempt % len(tickers)]
        bars = provider.bars(ticker, None)
        last: date = bars.index[-1].date()
        as_of = last - timedelta(days=draw.randrange(max(1, (last - bars.index[0].date()).days - 365)))
        try:
            metrics = take_snapshot(provider, ticker, as_of, options).metrics
        except InsufficientHistory:
            continue
        pairs[ticker, metrics.as_of] = Pair(ticker, metrics, rules.answer(metrics, detail))
    if not pairs:
        raise ValueError(f"no ticker in {market} has enough history")
    return list(pairs.values())


def pairs_of_run(artifacts: Artifacts, detail: Detail, split: str = "test") -> list[Pair]:
    """Return a labelled split of a run; validation and test have tickers and dates excluded from its training.

    Raises `FileNotFoundError` naming the missing stage, `ValueError` naming a malformed line.
    """
    artifacts.manifest("label")
    path = artifacts.folder / "label" / f"{split}.jsonl"
    pairs = []
    for number, row in enumerate(read_rows(path), 1):
        try:
            if row["detail"] == detail:
                answer = parse(detail, row["answer"])
                metrics = Metrics.model_validate_json(json.dumps(row["metrics"]))
                pairs.append(Pair(row["ticker"], metrics, answer, row["teacher"]))
        except KeyError as error:
            raise ValueError(f"{path}, line {number}: {error} is missing") from None
        except (ValidationError, UnparsedAnswer) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    if not pairs:
        raise ValueError(f"{path} has no {detail} pair")
    return pairs
