"""The analysis of a full answer as text and as data: each reading that counts, in the prompt's order, and a conclusion.

    Evidence and balance so far: open interest more calls (+1), MACD histogram 2.31 positive (+3), RSI 74.2 overbought
    (0). Balance 0: too little to act.

The number in parentheses is the balance up to there: the votes for the stock less those against it. Figures are cited
for readings that weigh two or more. Earlier versions of the analyst wrote each vote as well, which is read too:

    Votes and the count so far: MACD 10.4 positive +1 (1); RSI 74.2 overbought -3 (-2). Bears lead by 2: too little to
    act.
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
OPENING = "Evidence and balance so far: "

LABELS = sorted((label for label, _, _ in LINES), key=len, reverse=True)
"""Longest first, because some labels begin with another."""

# Every repetition is bounded: a search takes linear time whatever the text.
_ANALYSIS = re.compile(
    rf"(?:{OPENING}|Votes and the count so far: )(?P<items>.{{1,2400}}?)\. "
    r"(?:Balance [+-]?\d{1,2}|Bulls lead by \d{1,2}|Bears lead by \d{1,2}|Even): [^.]{1,80}\."
)
_SCORES = re.compile(r"(?: [+-]\d{1,2})? \([+-]?\d{1,2}\)|Balance [+-]?\d{1,2}|lead by \d{1,2}")
_ITEM = re.compile(r"(?P<cited>[^,;()]{1,80}?)(?: (?P<vote>[+-]\d{1,2}))? \((?P<total>[+-]?\d{1,2})\)")
_CITED = re.compile(r"(?:(?P<value>(?:.{0,60} )?[+-]?\d[\d.]{0,12}[KM%]?) )?(?P<reading>[A-Za-z].{0,40})")


@dataclass(frozen=True)
class Evidence:
    """One reading that an analysis counts."""

    group: Group
    metric: Annotated[str, Field(description="the indicator, by its label in the prompt")]
    value: Annotated[str | None, Field(description="its figures as the analysis cites them; null if it cites none")]
    reading: Annotated[str, Field(description="its zone in words")]
    vote: Annotated[int, Field(description="what it adds to the balance: positive for the stock, negative against it")]
    total: Annotated[int, Field(description="the balance so far, as the analysis states it")]


def write_analysis(votes: Iterable[tuple[Line, int]], conclusion: str) -> str:
    """Return the analysis of lines with their weights, which are not zero."""
    balance, items = 0, []
    for line, weight in votes:
        balance += weight
        items.append(f"{_cite(line, weight)} ({_signed(balance)})")
    return f"{OPENING}{', '.join(items) or EMPTY}. Balance {_signed(balance)}: {conclusion}."


def _signed(number: int) -> str:
    return f"{number:+d}" if number else "0"


def _cite(line: Line, weight: int) -> str:
    cited = abs(weight) >= CITED_FROM and len(line.figures) <= CITED_FIGURES
    return str(line) if cited else f"{line.label} {line.reading}"


def read_analysis(text: str) -> list[Evidence]:
    """Return the evidence of an analysis in one of these formats; nothing of an analysis in another."""
    found = _ANALYSIS.fullmatch(text)
    if found is None or found["items"] == EMPTY:
        return []
    try:
        return list(_read_items(found["items"]))
    except ValueError:
        return []


def _read_items(text: str) -> Iterator[Evidence]:
    """Yield the items. Raises `ValueError` for one in another format, or without a vote."""
    before = 0
    for item in re.split("[,;] ", text):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise ValueError(item)
        label = next((label for label in LABELS if found["cited"].startswith(f"{label} ")), None)
        rest = _CITED.fullmatch(found["cited"][len(label) + 1 :]) if label else None
        if label is None or rest is None:
            raise ValueError(item)
        total = int(found["total"])
        vote = int(found["vote"] or total - before)
        if not vote:
            raise ValueError(item)
        yield Evidence("bullish" if vote > 0 else "bearish", label, rest["value"], rest["reading"], vote, total)
        before = total


def without_scores(text: str) -> str:
    """Return the text with votes and balances blanked out, if it is an analysis in one of these formats."""
    return _SCORES.sub(lambda found: " " * len(found[0]), text) if read_analysis(text) else text
