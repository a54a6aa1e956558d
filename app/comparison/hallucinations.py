"""Hallucinated figures: numbers in an analysis that the metrics do not support.

Every number that reads as a figure must be one of the metrics, or follow from them in one obvious step (a level's
distance from the price, the gap between calls and puts), exactly or rounded. Other numbers are ignored: dates, periods,
names such as R1, list numbers, scales, textbook bounds in the context of a comparison, and whole numbers up to ten.
Signs are ignored, so that `10.9 points dearer` may state a skew of -10.9.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from app.contract.analysis import without_scores
from app.contract.features import Metrics
from app.contract.prompt import LEVELS, figure
from app.contract.readings import AVERAGES, PIVOTS, Values

SMALL = 10
"""A whole number up to this is a count, rank or grade, not a checkable figure."""
BOUNDS = frozenset({0.0, 1.0, 20.0, 25.0, 30.0, 50.0, 70.0, 75.0, 80.0, 100.0, 200.0})
"""Thresholds of the indicators in textbooks and in the readings."""
FRACTIONS = ("BBP_20_2.0", "CMF_20", "put_call_ratio")
"""Metrics that may be stated in percent."""
OPTION_PAIRS = (
    *(("call_iv_avg", "put_iv_avg"), ("call_last_price_avg", "put_last_price_avg")),
    *(("call_volume", "put_volume"), ("call_open_interest", "put_open_interest")),
)
LINE_PAIRS = (("MACD_12_26_9", "MACDs_12_26_9"), ("STOCHk_14_3_3", "STOCHd_14_3_3"))
"""Metrics whose difference may be stated."""
SCALES = {"k": 1e3, "t": 1e3, "m": 1e6, "b": 1e9}
"""By the first letter of k, thousand, m, mn, million, b, bn or billion; other letters of a match may be no ASCII."""

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,8}\.?"
_UNIT = r"days?|bars?|weeks?|months?|years?|sessions?|periods?|hours?|minutes?|[sed]?ma|moving|simple|exponential"
_PERIOD = r"(?:9|10|12|14|20|26|30|50|100|200)"
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"

# Every repetition is bounded: a search takes linear time whatever the text.
NOT_FIGURES = re.compile(
    "|".join(
        (
            r"\b\d{4}-\d{2}-\d{2}\b",
            r"\b\d{1,2}/\d{1,2}/\d{2,4}\b",
            rf"\b{_MONTH}\s{{1,4}}\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s{{1,4}}\d{{4}})?\b",
            rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s{{1,4}}{_MONTH}(?:,?\s{{1,4}}\d{{4}})?\b",
            rf"\b{_MONTH}\s{{1,4}}\d{{4}}\b",
            r"\b(?!usd)[a-z]{1,20}(?:_[a-z]{1,20}){0,4}_?\d{1,9}(?:[_.]\d{1,9}){0,4}(?!\.{0,9}\d)",  # R1, SMA_50
            rf"(?<![\d.])(?:\d{{1,3}}[\s-]{{0,4}}(?:,|and|or|/|to|\N{{EN DASH}})\s{{0,4}}){{0,9}}"
            rf"\d{{1,3}}(?:d|[\s-]{{0,4}}(?:{_UNIT}))\b",
            rf"\b(?:sma|ema|dma|ma|averages?)s?[\s(-]{{1,4}}"
            rf"(?:{_PERIOD}(?:\s{{0,4}}(?:,|and|or|/)\s{{0,4}}){{0,2}}){{1,9}}\b(?![.,]?\d)",
            r"\(\s{0,4}(?:12\s{0,4},\s{0,4}26\s{0,4},\s{0,4}9|14\s{0,4},\s{0,4}3\s{0,4},\s{0,4}3"
            r"|20\s{0,4},\s{0,4}2(?:\.0)?|14\s{0,4},\s{0,4}0?\.015)\s{0,4}\)",
            r"\b(?:rsi|adx|mfi|cci)\s{0,4}\(\s{0,4}14\s{0,4}\)|\bcmf\s{0,4}\(\s{0,4}20\s{0,4}\)"
            r"|\broc\s{0,4}\(\s{0,4}10\s{0,4}\)|\btrix\s{0,4}\(\s{0,4}30\s{0,4},\s{0,4}9\s{0,4}\)",
            r"(?m:^)[^\S\n]{0,20}(?:\(\d{1,2}\)|\d{1,2}[.)])(?=\s)",
            r"\b\d{1,9}(?:st|nd|rd|th)\b",
            r"[+-]\d{1,2} \(-?\d{1,2}\)|\blead by \d{1,2}\b",  # rule-based analyst 2: a vote and the running total
            r"(?:/|\bout of)\s{0,4}(?:10|100)\b|\b[01]\s{0,4}(?:-|to|\N{EN DASH})\s{0,4}(?:1|10|100)\b",
        )
    ),
    re.IGNORECASE,
)
FIGURE = re.compile(
    rf"(?P<money>\$\s{{0,4}}|\busd\s{{0,4}})?(?<![\w.])(?P<number>{_NUMBER})(?!\.?\d)"
    r"\s{0,4}(?P<scale>(?:k|m|mn|b|bn|thousand|million|billion)\b)?\s{0,4}(?P<percent>%|percent\b|per cent\b|pp\b)?",
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
    """The figures of an analysis, as written there."""

    cited: tuple[str, ...]
    unsupported: tuple[str, ...]
    """The cited figures that the metrics do not support."""


@dataclass(frozen=True)
class _Supported:
    """Absolute values that an analysis may cite, sorted: in any unit, as a distance in USD, or in percent."""

    figures: tuple[float, ...]
    usd: tuple[float, ...]
    percent: tuple[float, ...]


def figures(analysis: str, metrics: Metrics) -> Figures:
    """Return the figures of an analysis, and those that its metrics do not support."""
    text = NOT_FIGURES.sub(lambda found: " " * len(found[0]), without_scores(analysis))
    supported = _supported(metrics.values())
    cited, unsupported = [], []
    for found in FIGURE.finditer(text):
        if _is_figure(found, text):
            cited.append(found[0].strip())
            if not _is_supported(found, supported):
                unsupported.append(cited[-1])
    return Figures(tuple(cited), tuple(unsupported))


def _is_figure(found: re.Match[str], text: str) -> bool:
    """Whether the number is a claim about the stock."""
    if found["money"] or found["scale"] or found["percent"]:
        return True
    value = _value(found)
    if found["number"].isdecimal() and value <= SMALL:
        return False
    compared = _BEFORE.search(text[max(0, found.start() - 24) : found.start()]) or _AFTER.match(text, found.end())
    return not (value in BOUNDS and compared)


def _is_supported(found: re.Match[str], supported: _Supported) -> bool:
    number = found["number"].replace(",", "")
    scale = SCALES[found["scale"][0].lower()] if found["scale"] else 1.0
    value, step = float(number) * scale, _step(number) * scale
    up = step if step <= scale else step / 2  # 12,000 is a rounded figure, never a truncated one
    return any(
        _matches(value, step / 2, up, candidate)
        for known in (supported.figures, supported.percent if found["percent"] else supported.usd)
        for candidate in known[bisect_left(known, value - step) : bisect_right(known, value + up + step)]
    )


def _matches(value: float, down: float, up: float, exact: float) -> bool:
    """Whether `exact` lies between `value - down` and `value + up`."""
    slack = min(1e-9 * max(1.0, exact), down / 2)  # floating-point error, below the resolution of the decimals
    return value - down - slack <= exact <= value + up - (slack if up > down else -slack)


def _step(number: str) -> float:
    """Return the value of one unit in a number's last digit; in a whole number above 999, in its last non-zero digit,
    but at most in its second digit."""
    whole, _, decimals = number.partition(".")
    if decimals:
        return float(10.0 ** -len(decimals))
    zeros = min(len(whole) - len(whole.rstrip("0")), len(whole) - 2)
    return float(f"1e{zeros}") if len(whole) > 3 else 1.0


def _value(found: re.Match[str]) -> float:
    return float(found["number"].replace(",", ""))


def _supported(values: Values) -> _Supported:
    return _Supported(*(tuple(sorted(found)) for found in (_figures(values), _usd(values), _percent(values))))


def _figures(values: Values) -> Iterator[float]:
    """Yield the metrics, exact and as the prompt shows them, and the sums, gaps and ratios of pairs."""
    for name, value in values.items():
        yield abs(value)
        yield abs(_parse_shown(figure(value, 4 if name in LEVELS else 3)))
    if "OBV" in values:
        yield abs(values["OBV"]) * 1e6
    for one, other in (*OPTION_PAIRS, *LINE_PAIRS):
        if one in values and other in values:
            yield abs(values[one] - values[other])
    for one, other in OPTION_PAIRS:
        if one in values and other in values:
            call, put = values[one], values[other]
            yield (call + put) / 2 if one == "call_iv_avg" else call + put
            yield from (over / under for over, under in ((call, put), (put, call)) if under)


def _usd(values: Values) -> Iterator[float]:
    """Yield the distance from the price to each level."""
    for level in LEVELS[1:]:
        if "price" in values and level in values:
            yield abs(values["price"] - values[level])


def _percent(values: Values) -> Iterator[float]:
    """Yield the same in percent of either, exact and as the prompt shows it, and the fractions."""
    price = values.get("price")
    for level in (*AVERAGES, *PIVOTS):
        if price is not None and level in values:
            for base in (price, values[level]):
                if base > 0:
                    distance = 100 * abs(price - values[level]) / base
                    yield from (distance, float(f"{distance:.1f}"))
    for name in FRACTIONS:
        if name in values:
            yield 100 * abs(values[name])


def _parse_shown(text: str) -> float:
    """Parse a figure of the prompt."""
    return float(text[:-1]) * SCALES[text[-1].lower()] if text[-1].isalpha() else float(text)
