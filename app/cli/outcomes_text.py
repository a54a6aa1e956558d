"""Outcomes as text for people, and what they do not show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from math import sqrt

from app.cli.recommendation_text import WIDTH
from app.comparison.outcomes import Horizon
from app.comparison.statistics.estimate import Estimate
from app.comparison.statistics.hits import DAILY_BAND, Hits

NOT_SHOWN = (
    "What this does not show. Not that anybody earned it: there are no costs, spreads, taxes or fees for shorting in"
    " it, and closes are taken at which not everybody can trade. Not that it will go on. Stocks move together and"
    " horizons overlap, of which intervals by ticker know nothing: they are too narrow. Stocks that ceased to trade"
    " have no price at the end and are left out, which flatters what was bought. Where a model learned from texts"
    " written after the day it judged, it may have known what came. What a stand-in said is the rule-based analyst's."
    " Of many groups, some lead by chance."
)
CONVENTION = (
    "Entered at the close of the first session after the day of the metrics, left so many sessions later. Of a stock"
    " and day that was asked about again, the last answers count."
)
ROW = "{:<8} {:<7} {:<5} {:>6} {:>6}  {:<20} {:>6}  {:<22} {:>7}"
HEAD = ROW.format("", "action", "sure", "advice", "stocks", "hit rate", "base", "lead", "return")


def text(told: Sequence[Horizon], market: str) -> str:
    return "\n".join(_lines(told, market))


def _lines(told: Sequence[Horizon], market: str) -> Iterator[str]:
    for each in told:
        band = DAILY_BAND * sqrt(each.sessions)
        yield f"{each.sessions} sessions, bars from {market}: {each.questions} questions"
        yield f"{each.pending} not over yet, {each.without_bars} without bars"
        yield f"hold is right within {band:.1%} either way"
        if each.hits:
            yield HEAD
            yield from map(_row, each.hits)
        yield ""
    yield textwrap.fill(CONVENTION, WIDTH)
    yield textwrap.fill(NOT_SHOWN, WIDTH)


def _row(group: Hits) -> str:
    base = "" if group.base_rate is None else f"{group.base_rate.value:.1%}"
    mean = "" if group.mean_return is None else f"{group.mean_return.value:+.2%}"
    named = (group.backend, group.action or "all", group.conviction or "all", group.advice, group.tickers)
    return ROW.format(*named, _share(group.hit_rate), base, _share(group.lead, "+"), mean)


def _share(found: Estimate | None, sign: str = "") -> str:
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.1%}"
    return f"{found.value:{sign}.1%} ({found.low:{sign}.1%} to {found.high:{sign}.1%})"
