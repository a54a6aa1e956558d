"""Statistics of a data set for its manifest, and the data card `card.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from app.contract.features import METRIC_NAMES
from app.contract.recommendation import ACTIONS
from training.artifacts import Artifacts, read_rows, write_text
from training.config.dataset import SPLITS

Row = Mapping[str, Any]
Tokens = Mapping[str, Mapping[str, Sequence[int]]]

FIGURES = ("pairs", "closes", "tickers", "effective_tickers", "first", "last", "simulated", "skipped")
PERCENTILES = (50, 95, 100)
CARD = "card.md"

PAGE = """# Data set

Universe: {universe}, {used} tickers used, {absent} absent from the bars. Option statistics: {options}. Seed {seed}.
Left out at random: single metrics at a rate of {drop_metric}, whole option blocks at {drop_options}.

{figures}

Closes: different ones; a close may come up again with other metrics left out. Effective tickers: pairs of one
ticker are alike, so the sample is nearer Kish's (sum n)^2 / sum n^2 over each ticker's n pairs than the number
of pairs. Simulated: pairs whose option statistics are made up. Skipped: draws of stocks too young or halted.

## Share of the pairs that lack a metric

{missing}
"""


def describe(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the statistics of one split; `missing` is the share of pairs that lack each metric."""
    missing = Counter(name for row in rows for name in row["missing"])
    of_ticker = Counter(row["ticker"] for row in rows)
    return {
        "pairs": len(rows),
        "closes": len({(row["ticker"], row["as_of"]) for row in rows}),
        "tickers": len(of_ticker),
        "effective_tickers": round(effective_number(of_ticker.values()), 1),
        "details": dict(sorted(Counter(row["detail"] for row in rows).items())),
        "first": min(row["as_of"] for row in rows),
        "last": max(row["as_of"] for row in rows),
        "simulated": sum(bool(row["simulated"]) for row in rows),
        "missing": {name: round(missing[name] / len(rows), 4) for name in METRIC_NAMES},
    }


def effective_number(sizes: Iterable[int]) -> float:
    """(sum n)^2 / sum n^2: how many tickers of equal weight make as large a sample as these, of n pairs each.

    Kish, Survey Sampling (1965). It is exact where the pairs of one ticker are all alike; where every ticker
    has as many, it is the number of tickers.
    """
    counts = np.array(list(sizes), dtype=float)
    return float(counts.sum() ** 2 / (counts**2).sum())


def token_lengths(pairs: Iterable[tuple[str, int, int]]) -> dict[str, dict[str, list[int]]]:
    """Return the `PERCENTILES` of tokens by detail and part, from (detail, prompt tokens, answer tokens)."""
    counts: dict[str, list[tuple[int, int]]] = {}
    for detail, prompt, answer in pairs:
        counts.setdefault(detail, []).append((prompt, answer))
    cuts = {d: np.percentile(of_detail, PERCENTILES, axis=0, method="higher") for d, of_detail in counts.items()}
    return {d: {"prompt": cut[:, 0].tolist(), "answer": cut[:, 1].tolist()} for d, cut in sorted(cuts.items())}


def write_card(artifacts: Artifacts, data: Mapping[str, Any]) -> None:
    """Write `dataset/card.md` from the manifest about to be written."""
    write_text(artifacts.stage("dataset") / CARD, _of_data(data))


def complete_card(artifacts: Artifacts, tokens: Tokens | None = None) -> None:
    """Rewrite the card with the label classes and, if given, the `token_lengths`."""
    artifacts.manifest("label")
    labels = {name: list(read_rows(artifacts.folder / "label" / f"{name}.jsonl")) for name in SPLITS}
    page = _of_data(artifacts.manifest("dataset")) + _of_labels(labels)
    if tokens is not None:
        lines = {f"{d}, {part}": counts for d, parts in tokens.items() for part, counts in parts.items()}
        page += f"\n## Tokens a pair\n\n{_table([f'{at}% have at most' for at in PERCENTILES], lines)}\n"
    write_text(artifacts.folder / "dataset" / CARD, page)


def _of_data(data: Mapping[str, Any]) -> str:
    splits = [data[name] for name in SPLITS]
    figures = {figure.replace("_", " "): [split[figure] for split in splits] for figure in FIGURES}
    details = {name for split in splits for name in split["details"]}
    figures |= {f"in {detail}": [split["details"].get(detail, 0) for split in splits] for detail in sorted(details)}
    missing = {name: [_percent(split["missing"][name]) for split in splits] for name in METRIC_NAMES}
    tables = {"figures": _table(SPLITS, figures), "missing": _table(SPLITS, missing)}
    return PAGE.format_map({**data, **data["universe_tickers"], **tables})


def _of_labels(rows: Mapping[str, Sequence[Row]]) -> str:
    teachers = sorted({row["teacher"] for split in rows.values() for row in split})
    counts = {name: Counter(row["action"] for row in split) for name, split in rows.items()}
    shares: dict[str, list[str]] = {
        a: [_percent(counts[name][a] / len(rows[name])) for name in SPLITS] for a in ACTIONS
    }
    return f"\n## Classes, as {', '.join(teachers)} labelled\n\n{_table(SPLITS, shares)}\n"


def _table(head: Sequence[str], lines: Mapping[str, Sequence[object]]) -> str:
    rows = [f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in lines.items()]
    return "\n".join([f"| | {' | '.join(head)} |", f"| --- |{' ---: |' * len(head)}", *rows])


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
