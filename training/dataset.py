"""Tickers and dates -> metrics: snapshots at random closes, tickers disjoint between the splits."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from app.contract.features import METRIC_NAMES, OPTION_NAMES, Metrics
from app.market import InsufficientHistory
from app.market.parquet import ParquetProvider
from app.market.provider import Provider
from app.market.snapshot import snapshot
from training.artifacts import Artifacts, write_rows
from training.config import Config, Dataset, Split
from training.progress import progress

SPLITS = ("train", "validation", "test")


def build(config: Config, artifacts: Artifacts, market: Path) -> None:
    """Write a file of rows {ticker, as_of, detail, metrics, simulated, missing} for each split."""
    provider = ParquetProvider(market)
    folder = artifacts.stage("dataset")
    skipped: Counter[str] = Counter()
    parts = split_tickers(provider.tickers(), config.dataset)
    card: dict[str, Any] = {"seed": config.dataset.seed, "options": config.dataset.options}
    for name in SPLITS:
        split: Split = getattr(config.dataset, name)
        rows = list(_pairs(provider, config.dataset, name, split, parts[name], skipped))
        write_rows(folder / f"{name}.jsonl", rows)
        card[name] = {**_card(rows), "skipped_too_young": skipped[name]}
    artifacts.complete("dataset", card)


def split_tickers(tickers: list[str], config: Dataset) -> dict[str, list[str]]:
    """Each ticker to one split for good, by its hash: no ticker can stand on two sides."""
    shares = [config.train.tickers, config.validation.tickers, config.test.tickers]
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    for ticker in sorted(tickers):
        digest = hashlib.sha256(f"{config.seed}/{ticker}".encode()).digest()
        at = int.from_bytes(digest[:8], "big") / 2**64
        if at < shares[0]:
            parts["train"].append(ticker)
        elif at < shares[0] + shares[1]:
            parts["validation"].append(ticker)
        elif at < sum(shares):
            parts["test"].append(ticker)
    return parts


def _pairs(
    provider: Provider,
    config: Dataset,
    name: str,
    split: Split,
    tickers: list[str],
    skipped: Counter[str],
) -> Iterator[dict[str, Any]]:
    """As many pairs as asked for, tickers in turn at a random close each, a few metrics left out."""
    if not tickers:
        raise ValueError(f"no ticker falls into the {name} split")
    draw = random.Random(f"{config.seed}/{name}")  # noqa: S311 - reproducible, not secret
    draw.shuffle(tickers)
    details = ["brief"] * split.brief + ["full"] * split.full
    draw.shuffle(details)
    turn = itertools.cycle(tickers)
    days = (split.last - split.first).days
    for detail in progress(details, f"dataset {name}"):
        for ticker in itertools.islice(turn, len(tickers)):
            as_of = split.first + timedelta(days=draw.randrange(days + 1))
            try:
                yield _pair(provider, config, draw, ticker, as_of, detail)
                break
            except InsufficientHistory:
                skipped[name] += 1
        else:
            raise ValueError(f"no ticker of the {name} split has history enough between its dates")


def _pair(
    provider: Provider, config: Dataset, draw: random.Random, ticker: str, as_of: date, detail: str
) -> dict[str, Any]:
    shot = snapshot(provider, ticker, as_of, config.options)
    metrics = thin(shot.metrics, draw, config.drop_metric, config.drop_options)
    return {
        "ticker": shot.ticker,
        "as_of": str(metrics.as_of),
        "detail": detail,
        "metrics": metrics.document(),
        "simulated": shot.source.simulated,
        "missing": metrics.missing(),
    }


def thin(metrics: Metrics, draw: random.Random, metric_rate: float, options_rate: float) -> Metrics:
    """Leave out single metrics and whole option blocks: every metric is optional when served."""
    without_options = draw.random() < options_rate
    dropped = {name for name in METRIC_NAMES if draw.random() < metric_rate}
    dropped |= set(OPTION_NAMES) if without_options else set()
    document = metrics.document()
    for group in (document, document.get("options", {}), document.get("technicals", {})):
        for name in dropped & group.keys():
            del group[name]
    return Metrics.model_validate(document)


def _card(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the split holds; several dates of one ticker are correlated, so the tickers are the sample."""
    return {
        "pairs": len(rows),
        "tickers": len({row["ticker"] for row in rows}),
        "details": Counter(row["detail"] for row in rows),
        "first": min((row["as_of"] for row in rows), default=None),
        "last": max((row["as_of"] for row in rows), default=None),
        "simulated": sum(bool(row["simulated"]) for row in rows),
        "missing": Counter(name for row in rows for name in row["missing"]),
    }
