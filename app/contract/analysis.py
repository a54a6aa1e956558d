"""The analysis of a full answer as text and as data: bullish evidence, bearish evidence, balance, conclusion.

    Bullish: open interest more calls (1), MACD 2.31 positive (3). Bearish: RSI 74.2 overbought (3). Balance 0: too
    little to act.

The number in parentheses is the running score of its side. Figures are cited for readings that weigh two or more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from app.contract.prompt import LINES, Line

Group = Literal["bullish", "bearish"]

CITED_FROM = 2
"""The weight from which an item cites its figures."""
CITED_FIGURES = 2
"""A line with more figures, such as the pivots, is cited by its reading alone."""
EMPTY = "none"

LABELS = sorted((label for label, _, _ in LINES), key=len, reverse=True)
"""Longest first, because some labels begin with another."""

# Every repetition is bounded: a search takes linear time whatever the text.
_ANALYSIS = re.compile(
    r"Bullish: (?P<bullish>.{1,1200}?)\. Bearish: (?P<bearish>.{1,1200}?)\. Balance [+-]?\d{1,2}: [^.]{1,80}\."
)
_SCORES = re.compile(r"\(\d{1,2}\)|Balance [+-]?\d{1,2}")
_ITEM = re.compile(r"(?P<cited>[^,()]{1,80}) \((?P<total>\d{1,2})\)")
_CITED = re.compile(r"(?:(?P<value>(?:.{0,60} )?[+-]?\d[\d.]{0,12}[KM%]?) )?(?P<reading>[A-Za-z].{0,40})")


@dataclass(frozen=True)
class Evidence:
    """One reading that an analysis counts."""

    group: Group
    metric: Annotated[str, Field(description="the indicator, by its label in the prompt")]
    value: Annotated[str | None, Field(description="its figures as the analysis cites them; null if it cites none")]
    reading: Annotated[str, Field(description="its zone in words")]
    vote: Annotated[
        int, Field(description="what it adds to the group's score: positive for the stock, negative against it")
    ]
    total: Annotated[int, Field(description="the group's running score, as the analysis states it")]


def write_analysis(votes: Iterable[tuple[Line, int]], conclusion: str) -> str:
    """Return the analysis of lines with their weights, which are not zero."""
    cast = list(votes)
    sides = (("Bullish", 1), ("Bearish", -1))
    texts = [f"{name}: {_write_side([(line, sign * w) for line, w in cast if sign * w > 0])}." for name, sign in sides]
    balance = sum(weight for _, weight in cast)
    return f"{' '.join(texts)} Balance {f'{balance:+d}' if balance else '0'}: {conclusion}."


def _write_side(votes: list[tuple[Line, int]]) -> str:
    total, items = 0, []
    for line, weight in votes:
        total += weight
        items.append(f"{_cite(line, weight)} ({total})")
    return ", ".join(items) or EMPTY


def _cite(line: Line, weight: int) -> str:
    cited = weight >= CITED_FROM and len(line.figures) <= CITED_FIGURES
    return str(line) if cited else f"{line.label} {line.reading}"


def read_analysis(text: str) -> list[Evidence]:
    """Return the evidence of an analysis in this format; nothing of an analysis in another format."""
    found = _ANALYSIS.fullmatch(text)
    if found is None:
        return []
    try:
        return [*_read_side("bullish", found["bullish"]), *_read_side("bearish", found["bearish"])]
    except ValueError:
        return []


def _read_side(group: Group, text: str) -> Iterator[Evidence]:
    """Yield a side's items. Raises `ValueError` for an item in another format."""
    if text == EMPTY:
        return
    before = 0
    for item in text.split(", "):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise ValueError(item)
        label = next((label for label in LABELS if found["cited"].startswith(f"{label} ")), None)
        rest = _CITED.fullmatch(found["cited"][len(label) + 1 :]) if label else None
        if label is None or rest is None:
            raise ValueError(item)
        total = int(found["total"])
        vote = (total - before) * (1 if group == "bullish" else -1)
        yield Evidence(group, label, rest["value"], rest["reading"], vote, total)
        before = total


def without_scores(text: str) -> str:
    """Return the text with running scores and balance blanked out, if it is an analysis in this format."""
    return _SCORES.sub(lambda found: " " * len(found[0]), text) if read_analysis(text) else text
