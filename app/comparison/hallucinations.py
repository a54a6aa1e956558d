"""Figures in an analysis that the metrics do not contain: levels and values that a model made up.

Every number that reads as a figure must be one of the metrics, or follow from them by a step that a reader takes at a
glance (a level's distance from the price, the gap between calls and puts), written out or rounded as it may be. What is
no figure is left out: dates, periods, names such as R1, list numbers, scales, textbook bounds said to be bounds, and
whole numbers up to ten. What a sign says is not judged, so that `10.9 points dearer` may tell of a skew of -10.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.contract.features import Metrics
from app.contract.prompt import LEVELS, figure
from app.contract.readings import AVERAGES, PIVOTS, Values

SMALL = 10
"""A whole number up to this counts, ranks or grades; it is no figure of a stock that could be checked."""
BOUNDS = frozenset({0.0, 1.0, 20.0, 25.0, 30.0, 50.0, 70.0, 75.0, 80.0, 100.0, 200.0})
"""Of the indicators, as textbooks and the readings have them."""
FRACTIONS = ("BBP_20_2.0", "CMF_20", "put_call_ratio")
"""What may be said in percent."""
OPTIONS = (
    *(("call_iv_avg", "put_iv_avg"), ("call_last_price_avg", "put_last_price_avg")),
    *(("call_volume", "put_volume"), ("call_open_interest", "put_open_interest")),
)
LINES = (("MACD_12_26_9", "MACDs_12_26_9"), ("STOCHk_14_3_3", "STOCHd_14_3_3"))
"""Metrics that are compared with each other."""
SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9}

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_UNIT = r"days?|bars?|weeks?|months?|years?|sessions?|periods?|hours?|minutes?|[sed]?ma|moving|simple|exponential"
_PERIOD = r"(?:9|10|12|14|20|26|30|50|100|200)"
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"

NO_FIGURES = re.compile(
    "|".join(
        (
            r"\b\d{4}-\d{2}-\d{2}\b",
            r"\b\d{1,2}/\d{1,2}/\d{2,4}\b",
            rf"\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?\b",
            rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH}(?:,?\s+\d{{4}})?\b",
            rf"\b{_MONTH}\s+\d{{4}}\b",
            r"\b(?!usd)[a-z]+(?:_[a-z]+)*_?\d+(?:[_.]\d+)*(?![\d.]*\d)",  # R1, SMA_50, MACD_12_26_9
            rf"(?<![\d.])(?:\d{{1,3}}[\s-]*(?:,|and|or|/|to|\N{{EN DASH}})\s*)*\d{{1,3}}(?:d|[\s-]*(?:{_UNIT}))\b",
            rf"\b(?:sma|ema|dma|ma|averages?)s?[\s(-]+(?:{_PERIOD}(?:\s*(?:,|and|or|/)\s*)*)+\b(?![.,]?\d)",
            r"\(\s*(?:12\s*,\s*26\s*,\s*9|14\s*,\s*3\s*,\s*3|20\s*,\s*2(?:\.0)?|14\s*,\s*0?\.015)\s*\)",
            r"\b(?:rsi|adx|mfi|cci)\s*\(\s*14\s*\)|\bcmf\s*\(\s*20\s*\)|\broc\s*\(\s*10\s*\)|\btrix\s*\(\s*30\s*,\s*9\s*\)",
            r"(?m:^)\s*(?:\(\d{1,2}\)|\d{1,2}[.)])(?=\s)",
            r"\b\d+(?:st|nd|rd|th)\b",
            r"[+-]\d{1,2} \(-?\d{1,2}\)|\blead by \d{1,2}\b",  # a vote and the count so far, as the rules tell them
            r"(?:/|\bout of)\s*(?:10|100)\b|\b[01]\s*(?:-|to|\N{EN DASH})\s*(?:1|10|100)\b",
        )
    ),
    re.IGNORECASE,
)
FIGURE = re.compile(
    rf"(?P<money>\$\s*|\busd\s*)?(?<![\w.])(?P<number>{_NUMBER})(?!\.?\d)"
    r"\s*(?P<scale>(?:k|m|mn|b|bn|thousand|million|billion)\b)?\s*(?P<percent>%|percent\b|per cent\b|pp\b)?",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:above|below|over|under|beyond|past|than|near|at|of|exceed\w*|cross\w*|reach\w*|toward\w*|between|and|to|>|<|=)"
    r"\s+(?:the\s+|its\s+)?[-+]?$",
    re.IGNORECASE,
)
_AFTER = re.compile(r"[\s-]*(?:levels?|lines?|threshold|mark|zone|territory|mid\w*|bound\w*|and)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Figures:
    """What an analysis cites, as it is written there."""

    cited: tuple[str, ...]
    invented: tuple[str, ...]
    """Those of the cited that are not the metrics'."""


@dataclass(frozen=True)
class _Known:
    """What may be cited, without signs: anyhow, as a distance in USD, or only in percent."""

    figures: tuple[float, ...]
    usd: tuple[float, ...]
    percent: tuple[float, ...]


def figures(analysis: str, metrics: Metrics) -> Figures:
    """The figures of an analysis, and those that the metrics it was made from do not contain."""
    text = NO_FIGURES.sub(lambda found: " " * len(found[0]), analysis)
    known = _known(metrics.values())
    cited, invented = [], []
    for found in FIGURE.finditer(text):
        if _is_figure(found, text):
            cited.append(found[0].strip())
            if not _stands(found, known):
                invented.append(cited[-1])
    return Figures(tuple(cited), tuple(invented))


def _is_figure(found: re.Match[str], text: str) -> bool:
    """Whether the number claims to be the stock's."""
    if found["money"] or found["scale"] or found["percent"]:
        return True
    value = _value(found)
    if found["number"].isdecimal() and value <= SMALL:
        return False
    said = _BEFORE.search(text[max(0, found.start() - 24) : found.start()]) or _AFTER.match(text, found.end())
    return not (value in BOUNDS and said)


def _stands(found: re.Match[str], known: _Known) -> bool:
    number = found["number"].replace(",", "")
    scale = SCALES[found["scale"].lower()] if found["scale"] else 1.0
    value, step = float(number) * scale, _step(number) * scale
    cut = step if step <= scale else step / 2  # 12,000 is a rounded figure, and never one that was cut off
    candidates = known.figures + (known.percent if found["percent"] else known.usd)
    return any(_shows(value, step / 2, cut, candidate) for candidate in candidates)


def _shows(value: float, down: float, up: float, known: float) -> bool:
    """Whether a value is the known one, which is up to so much less, or more."""
    slack = min(1e-9 * max(1.0, known), down / 2)  # of a large figure with decimals, less than these tell apart
    return value - down - slack <= known <= value + up - (slack if up > down else -slack)


def _step(number: str) -> float:
    """What a number's last digit stands for; of a large round number, of its last digit that is no zero, where it has
    another before that."""
    whole, _, decimals = number.partition(".")
    if decimals:
        return float(10.0 ** -len(decimals))
    zeros = min(len(whole) - len(whole.rstrip("0")), len(whole) - 2)
    return float(10**zeros) if len(whole) > 3 else 1.0


def _value(found: re.Match[str]) -> float:
    return float(found["number"].replace(",", ""))


def _known(values: Values) -> _Known:
    """What the metrics contain."""
    return _Known(tuple(_figures(values)), tuple(_usd(values)), tuple(_percent(values)))


def _figures(values: Values) -> Iterator[float]:
    """The metrics, as they are and as the prompt shows them, and what a glance at two of them tells."""
    for name, value in values.items():
        yield abs(value)
        yield abs(_as_shown(figure(value, 4 if name in LEVELS else 3)))
    if "OBV" in values:
        yield abs(values["OBV"]) * 1e6
    for one, other in (*OPTIONS, *LINES):
        if one in values and other in values:
            yield abs(values[one] - values[other])
    for one, other in OPTIONS:
        if one in values and other in values:
            call, put = values[one], values[other]
            yield (call + put) / 2 if one == "call_iv_avg" else call + put
            yield from (over / under for over, under in ((call, put), (put, call)) if under)


def _usd(values: Values) -> Iterator[float]:
    """From the price to each level."""
    for level in LEVELS[1:]:
        if "price" in values and level in values:
            yield abs(values["price"] - values[level])


def _percent(values: Values) -> Iterator[float]:
    """The same in percent of either, as it is and as the prompt shows it; and fractions."""
    price = values.get("price")
    for level in (*AVERAGES, *PIVOTS):
        if price is not None and level in values:
            for base in (price, values[level]):
                if base > 0:
                    away = 100 * abs(price - values[level]) / base
                    yield from (away, float(f"{away:.1f}"))
    for name in FRACTIONS:
        if name in values:
            yield 100 * abs(values[name])


def _as_shown(text: str) -> float:
    """A figure as the prompt shows it, read back."""
    return float(text[:-1]) * SCALES[text[-1].lower()] if text[-1].isalpha() else float(text)
