"""Outcomes as text for people, and their limits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from math import sqrt

from app.cli.table import WIDTH
from app.comparison.outcomes import BENCHMARK, Horizon
from app.comparison.statistics.estimate import Estimate
from app.comparison.statistics.hits import DAILY_BAND, Hits
from app.comparison.statistics.scores import Scores

NOT_SHOWN = (
    "What this does not show. Real profits: costs, spreads, taxes and fees for shorting are not included, and not"
    " every trader can trade at a close. The future: past hit rates need not continue. Independent samples: stocks"
    " move together and horizons overlap, which intervals by ticker ignore, so they are too narrow. Delisted stocks:"
    " they have no price at the end and are excluded, which flatters buys. Unseen data: a model trained on texts"
    " written after the day it judged may have known the outcome. Models in a stand-in's place: its answers are the"
    " rule-based analyst's. Significance: of many groups, some lead by chance."
)
CONVENTION = (
    "Entry at the close of the first session after the day of the metrics, exit that number of sessions later. Of"
    " several answers of a backend about a stock and day, the latest counts. The return of advice is the stock's for a"
    " buy, its negative for a sell and 0 for a hold; beside it are those of buying each of the same stocks, in equal"
    f" parts, and of buying {BENCHMARK} by the same rule. Costs are not included."
)
ROW = "{:<8} {:<7} {:<5} {:>6} {:>6}  {:<20} {:>6}  {:<22} {:>7}"
HEAD = ROW.format("", "action", "sure", "advice", "stocks", "hit rate", "base", "lead", "return")

RETURNS_ROW = "{:<8} {:<28} {:<28} {}"
RETURNS_HEAD = RETURNS_ROW.format("", "return of the advice", "of buying each stock", f"of buying {BENCHMARK}")
NO_BENCHMARK = f"the market has no bars of {BENCHMARK} then"

SCORES_ROW = "{:<8} {:>6} {:>6}  {:<24} {:>6}  {:<24} {:>6}"
SCORES_HEAD = SCORES_ROW.format("", "stated", "stocks", "Brier score", "shares", "log loss", "shares")


def text(horizons: Sequence[Horizon], market: str) -> str:
    return "\n".join(_lines(horizons, market))


def _lines(horizons: Sequence[Horizon], market: str) -> Iterator[str]:
    for each in horizons:
        band = DAILY_BAND * sqrt(each.sessions)
        yield f"{each.sessions} sessions, bars from {market}: {each.questions} questions"
        yield f"{each.pending} not over yet, {each.without_bars} without bars"
        yield f"hold is right within {band:.1%} either way"
        if each.hits:
            yield HEAD
            yield from map(_row, each.hits)
            yield RETURNS_HEAD
            yield from (_returns(group) for group in each.hits if group.action is group.conviction is None)
        if each.scores:
            yield SCORES_HEAD
            yield from map(_scores, each.scores)
        yield ""
    yield textwrap.fill(CONVENTION, WIDTH)
    yield textwrap.fill(NOT_SHOWN, WIDTH)


def _row(group: Hits) -> str:
    base = "" if group.base_rate is None else f"{group.base_rate.value:.1%}"
    mean = "" if group.mean_return is None else f"{group.mean_return.value:+.2%}"
    labels = (group.backend, group.action or "all", group.conviction or "all", group.advice, group.tickers)
    return ROW.format(*labels, _percent(group.hit_rate), base, _percent(group.lead, "+"), mean)


def _returns(group: Hits) -> str:
    benchmark = NO_BENCHMARK if group.benchmark_return is None else _percent(group.benchmark_return, "+", 2)
    advice, stocks = (_percent(each, "+", 2) for each in (group.signed_return, group.mean_return))
    return RETURNS_ROW.format(group.backend, advice, stocks, benchmark)


def _scores(scores: Scores) -> str:
    brier = (_decimal(scores.brier), _value(scores.brier_shares))
    loss = (_decimal(scores.log_loss), _value(scores.log_loss_shares))
    return SCORES_ROW.format(scores.backend, scores.advice, scores.tickers, *brier, *loss)


def _value(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.3f}"


def _decimal(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return _value(estimate)
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _percent(estimate: Estimate | None, sign: str = "", decimals: int = 1) -> str:
    form = f"{sign}.{decimals}%"
    if estimate is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}}"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"
