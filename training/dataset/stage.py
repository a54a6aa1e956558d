"""Tickers and dates -> metrics: snapshots at random closes, tickers disjoint between the splits."""

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
from training.config import SPLITS, Config, Dataset, Split
from training.dataset.data_card import describe, write_card
from training.dataset.market import open_market
from training.dataset.universe import choose
from training.progress import progress

ROUNDS = 20
"""Draws of each ticker for one pair, after which no ticker of the split is thought to have one."""


def build(config: Config, artifacts: Artifacts, market: Path) -> None:
    """Write a file of rows {ticker, as_of, detail, metrics, simulated, missing} for each split, and the card.

    Raises `UnusableMarket`, `ConfigError` or `ValueError` before anything is written.
    """
    settings = config.dataset
    provider = open_market(market)
    universe = choose(settings.universe, provider.tickers())
    parts = split_tickers(universe.companies, settings)
    if empty := [name for name in SPLITS if not parts[name]]:
        raise ValueError(f"of {len(universe.companies)} tickers none falls into {' or '.join(empty)}")
    skipped: Counter[str] = Counter()
    rows = {name: list(_pairs(provider, settings, name, parts[name], skipped)) for name in SPLITS}
    require_apart(rows, universe.companies)
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
    """Each company to one split for good, by its hash: no company can stand on two sides."""
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


def require_apart(rows: Mapping[str, Sequence[Mapping[str, Any]]], companies: Mapping[str, str]) -> None:
    """Look at the rows themselves, whatever split them: companies on one side, judged after all that is learnt.

    Raises `ValueError` naming every ticker and split that is not so.
    """
    sides: dict[str, set[str]] = {}
    for name, split in rows.items():
        for row in split:
            sides.setdefault(companies[row["ticker"]], set()).add(name)
    problems = [
        f"{company} is in {' and in '.join(sorted(names))}" for company, names in sides.items() if len(names) > 1
    ]
    learnt = max(row["as_of"] for row in rows["train"])
    first = {name: min(row["as_of"] for row in rows[name]) for name in SPLITS[1:]}
    problems += [f"{name} has a close of {day}, train of {learnt}" for name, day in first.items() if day <= learnt]
    if problems:
        raise ValueError("the splits are not apart: " + "; ".join(problems))


def _pairs(
    provider: Provider,
    config: Dataset,
    name: str,
    tickers: list[str],
    skipped: Counter[str],
) -> Iterator[dict[str, Any]]:
    """As many pairs as asked for, tickers in turn at a random close each, a few metrics left out.

    A day without a bar stands for the close before it, which is left out where it precedes the split.
    """
    draw = random.Random(f"{config.seed}/{name}")  # noqa: S311 - reproducible, not secret
    draw.shuffle(tickers)
    split: Split = getattr(config, name)
    details = ["brief"] * split.brief + ["full"] * split.full
    draw.shuffle(details)
    turn = itertools.cycle(tickers)
    days = (split.last - split.first).days
    for detail in progress(details, f"dataset {name}"):
        for ticker in itertools.islice(turn, ROUNDS * len(tickers)):
            as_of = split.first + timedelta(days=draw.randrange(days + 1))
            pair = _pair(provider, config, draw, ticker, as_of, detail)
            if pair and pair["as_of"] >= str(split.first):
                yield pair
                break
            skipped[name] += 1
        else:
            raise ValueError(f"no ticker of the {name} split has history enough between its dates")


def _pair(
    provider: Provider, config: Dataset, draw: random.Random, ticker: str, as_of: date, detail: str
) -> dict[str, Any] | None:
    """The row, or None where the stock is too young or halted."""
    try:
        shot = take_snapshot(provider, ticker, as_of, config.options)
    except InsufficientHistory:
        return None
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
