"""The analysis of a full answer as text and as data: bullish evidence, bearish evidence, balance, conclusion.

    Bullish: open interest more calls, MACD histogram 2.31 positive (+2). Bearish: RSI 74.2 overbought (-3). Balance 0:
    too little to act.

The number in parentheses is the weight of a reading that weighs two or more; its figures are cited as well. The other
readings weigh one. The balance is the weights of the bullish readings less those of the bearish.
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
"""The weight from which an item cites its figures and states its weight."""
CITED_FIGURES = 2
"""A line with more figures, such as the pivots, is cited by its reading alone."""
EMPTY = "none"

LABELS = sorted((label for label, _, _ in LINES), key=len, reverse=True)
"""Longest first, because some labels begin with another."""

# Every repetition is bounded: a search takes linear time whatever the text.
_ANALYSIS = re.compile(
    r"Bullish: (?P<bullish>.{1,1200}?)\. Bearish: (?P<bearish>.{1,1200}?)\. Balance [+-]?\d{1,2}: [^.]{1,80}\."
)
_SCORES = re.compile(r"\([+-]\d{1,2}\)|Balance [+-]?\d{1,2}")
_ITEM = re.compile(r"(?P<cited>[^,()]{1,80}?)(?: \((?P<vote>[+-]\d{1,2})\))?")
_CITED = re.compile(r"(?:(?P<value>(?:.{0,60} )?[+-]?\d[\d.]{0,12}[KM%]?) )?(?P<reading>[A-Za-z].{0,40})")


@dataclass(frozen=True)
class Evidence:
    """One reading that an analysis counts."""

    group: Group
    metric: Annotated[str, Field(description="the indicator, by its label in the prompt")]
    value: Annotated[str | None, Field(description="its figures as the analysis cites them; null if it cites none")]
    reading: Annotated[str, Field(description="its zone in words")]
    vote: Annotated[int, Field(description="what it adds to the balance: positive for the stock, negative against it")]
    total: Annotated[int, Field(description="the sum of the votes up to this one")]


def write_analysis(votes: Iterable[tuple[Line, int]], conclusion: str) -> str:
    """Return the analysis of lines with their weights, which are not zero."""
    cast = list(votes)
    bullish, bearish = (", ".join(_cite(line, w) for line, w in cast if sign * w > 0) or EMPTY for sign in (1, -1))
    balance = sum(weight for _, weight in cast)
    stated = f"{balance:+d}" if balance else "0"
    return f"Bullish: {bullish}. Bearish: {bearish}. Balance {stated}: {conclusion}."


def _cite(line: Line, weight: int) -> str:
    if abs(weight) < CITED_FROM:
        return f"{line.label} {line.reading}"
    cited = str(line) if len(line.figures) <= CITED_FIGURES else f"{line.label} {line.reading}"
    return f"{cited} ({weight:+d})"


def read_analysis(text: str) -> list[Evidence]:
    """Return the evidence of an analysis in this format; nothing of an analysis in another."""
    found = _ANALYSIS.fullmatch(text)
    try:
        return list(_read_items(found)) if found else []
    except ValueError:
        return []


def _read_items(analysis: re.Match[str]) -> Iterator[Evidence]:
    """Yield the items of both groups. Raises `ValueError` for one in another format."""
    total = 0
    groups: tuple[tuple[Group, int], ...] = (("bullish", 1), ("bearish", -1))
    for group, sign in groups:
        for item in analysis[group].split(", ") if analysis[group] != EMPTY else ():
            found = _ITEM.fullmatch(item)
            if found is None:
                raise ValueError(item)
            label = next((label for label in LABELS if found["cited"].startswith(f"{label} ")), None)
            rest = _CITED.fullmatch(found["cited"][len(label) + 1 :]) if label else None
            vote = int(found["vote"] or sign)
            if label is None or rest is None or sign * vote <= 0:
                raise ValueError(item)
            total += vote
            yield Evidence(group, label, rest["value"], rest["reading"], vote, total)


def without_scores(text: str) -> str:
    """Return the text with votes and balances blanked out, if it is an analysis in this format."""
    return _SCORES.sub(lambda found: " " * len(found[0]), text) if read_analysis(text) else text
