"""Data set construction: metric snapshots at random closes, with tickers disjoint between splits."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from app.contract.features import METRIC_NAMES, OPTION_NAMES, Metrics
from app.market import InsufficientHistory
from app.market.provider import Provider
from app.market.snapshot import take_snapshot
from training.artifacts import MANIFEST, Artifacts, write_rows
from training.config.dataset import SPLITS, Dataset, Split
from training.config.run import Config
from training.dataset.data_card import describe, write_card
from training.dataset.market import open_market
from training.dataset.universe import select_universe
from training.progress import progress

ROUNDS = 20
"""Draws per ticker for one pair before the split counts as having no usable ticker."""


def build(config: Config, artifacts: Artifacts, market: Path) -> None:
    """Write rows {ticker, as_of, detail, metrics, simulated, missing} for each split, and the data card.

    Raises `UnusableMarket`, `ConfigError` or `ValueError` before anything is written.
    """
    settings = config.dataset
    provider = open_market(market)
    universe = select_universe(settings.universe, provider.tickers())
    parts = split_tickers(universe.companies, settings)
    if empty := [name for name in SPLITS if not parts[name]]:
        raise ValueError(f"of {len(universe.companies)} tickers none falls into {' or '.join(empty)}")
    skipped: Counter[str] = Counter()
    rows = {name: list(_pairs(provider, settings, name, parts[name], skipped)) for name in SPLITS}
    require_disjoint(rows, universe.companies)
    folder = artifacts.stage("dataset")
    manifest: dict[str, Any] = {
        "seed": settings.seed,
        "options": settings.options,
        "universe": settings.universe,
        "universe_tickers": {"used": len(universe.companies), "absent": len(universe.absent)},
        "drop_metric": settings.drop_metric,
        "drop_options": settings.drop_options,
        **{name: {**describe(rows[name]), "skipped": skipped[name]} for name in SPLITS},
    }
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in SPLITS:
        write_rows(folder / f"{name}.jsonl", rows[name])
    write_card(artifacts, manifest)
    artifacts.complete("dataset", manifest)


def split_tickers(companies: Mapping[str, str], config: Dataset) -> dict[str, list[str]]:
    """Assign each company to one split by the hash of its name, so that no company is in two splits."""
    shares = [config.train.tickers, config.validation.tickers, config.test.tickers]
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    for ticker in sorted(companies):
        digest = hashlib.sha256(f"{config.seed}/{companies[ticker]}".encode()).digest()
        at = int.from_bytes(digest[:8], "big") / 2**64
        if at < shares[0]:
            parts["train"].append(ticker)
        elif at < shares[0] + shares[1]:
            parts["validation"].append(ticker)
        elif at < sum(shares):
            parts["test"].append(ticker)
    return parts


def require_disjoint(rows: Mapping[str, Sequence[Mapping[str, Any]]], companies: Mapping[str, str]) -> None:
    """Check that no company is in two splits and that evaluation dates are after all training dates.

    Raises `ValueError` naming every violation.
    """
    sides: dict[str, set[str]] = {}
    for name, split in rows.items():
        for row in split:
            sides.setdefault(companies[row["ticker"]], set()).add(name)
    problems = [
        f"{company} is in {' and in '.join(sorted(names))}" for company, names in sides.items() if len(names) > 1
    ]
    train_end = max(row["as_of"] for row in rows["train"])
    first = {name: min(row["as_of"] for row in rows[name]) for name in SPLITS[1:]}
    problems += [
        f"{name} has a close of {day}, not after train's last, {train_end}"
        for name, day in first.items()
        if day <= train_end
    ]
    if problems:
        raise ValueError("the splits overlap: " + "; ".join(problems))


def _pairs(
    provider: Provider,
    config: Dataset,
    name: str,
    tickers: list[str],
    skipped: Counter[str],
) -> Iterator[dict[str, Any]]:
    """Yield the configured number of pairs: tickers in turn, each at a random close, with some metrics dropped.

    A day without a bar resolves to the previous close, which is skipped if it precedes the split.
    """
    rng = random.Random(f"{config.seed}/{name}")  # noqa: S311 - reproducible, not secret
    rng.shuffle(tickers)
    split: Split = getattr(config, name)
    details = ["brief"] * split.brief + ["full"] * split.full
    rng.shuffle(details)
    turn = itertools.cycle(tickers)
    days = (split.last - split.first).days
    for detail in progress(f"dataset {name}", details):
        for ticker in itertools.islice(turn, ROUNDS * len(tickers)):
            as_of = split.first + timedelta(days=rng.randrange(days + 1))
            pair = _pair(provider, config, rng, ticker, as_of, detail)
            if pair and pair["as_of"] >= str(split.first):
                yield pair
                break
            skipped[name] += 1
        else:
            raise ValueError(f"no ticker of the {name} split has enough history between its dates")


def _pair(
    provider: Provider, config: Dataset, rng: random.Random, ticker: str, as_of: date, detail: str
) -> dict[str, Any] | None:
    """Return the row, or None if the stock has too little history or is halted."""
    try:
        snapshot = take_snapshot(provider, ticker, as_of, config.options)
    except InsufficientHistory:
        return None
    metrics = drop_metrics(snapshot.metrics, rng, config.drop_metric, config.drop_options)
    return {
        "ticker": snapshot.ticker,
        "as_of": str(metrics.as_of),
        "detail": detail,
        "metrics": metrics.document(),
        "simulated": snapshot.source.simulated,
        "missing": metrics.missing(),
    }


def drop_metrics(metrics: Metrics, rng: random.Random, metric_rate: float, options_rate: float) -> Metrics:
    """Drop single metrics and whole option blocks at random, because every metric is optional when served."""
    without_options = rng.random() < options_rate
    dropped = {name for name in METRIC_NAMES if rng.random() < metric_rate}
    dropped |= set(OPTION_NAMES) if without_options else set()
    document = metrics.document()
    for group in (document, document.get("options", {}), document.get("technicals", {})):
        for name in dropped & group.keys():
            del group[name]
    return Metrics.model_validate(document)
