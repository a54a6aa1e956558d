"""Metrics -> chat messages: one user turn, with the part that all prompts share first, so that servers can cache it.

The ticker, which no other stock's prompt shares, comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from app.contract.features import Metrics
from app.contract.readings import AVERAGES, PIVOTS, Values, distance, readings

Detail = Literal["full", "brief"]

PROMPT_VERSION = "2"

TASK = """Judge this US stock for the coming weeks from its option statistics and technical indicators. \
Decide buy, sell or hold, and a conviction from 1 (a guess) to 10 (certain)."""

ANSWER: dict[Detail, str] = {
    "full": """ Reply in JSON: action, then conviction, then an analysis of under 120 words: the evidence, \
in the order given here and with what each reading weighs for or against the stock, the balance, a conclusion. \
Cite only figures given here.""",
    "brief": " Reply in JSON: action, then conviction.",
}


class Message(TypedDict):
    role: Literal["user"]
    content: str


def figure(value: float, digits: int = 3) -> str:
    """Format a figure for the prompt: `digits` significant digits, at most three decimals, all digits of an integer
    below 100,000, and K or M from there on."""
    if abs(value) >= 99_999.5:
        scale, suffix = (1e6, "M") if abs(value) >= 999_950 else (1e3, "K")
        return figure(value / scale, digits) + suffix
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    text = f"{value:.{min(3, max(0, digits - whole))}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


LEVELS = ("price", "call_last_price_avg", "put_last_price_avg", *AVERAGES, *PIVOTS)
"""Prices in USD, shown to four significant digits: rounding must not move the price across a near level."""

LINES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("price", {"": "price"}, ""),
    ("IV", {"calls ": "call_iv_avg", "puts ": "put_iv_avg"}, "IV"),
    ("IV skew", {"": "iv_skew"}, "iv_skew"),
    ("last price", {"calls ": "call_last_price_avg", "puts ": "put_last_price_avg"}, "last price"),
    ("volume", {"calls ": "call_volume", "puts ": "put_volume"}, ""),
    ("put-call ratio", {"": "put_call_ratio"}, "put_call_ratio"),
    ("open interest", {"calls ": "call_open_interest", "puts ": "put_open_interest"}, "open interest"),
    ("MACD", {"": "MACD_12_26_9"}, "MACD_12_26_9"),
    ("MACD signal", {"": "MACDs_12_26_9"}, ""),
    ("MACD histogram", {"": "MACDh_12_26_9"}, "MACDh_12_26_9"),
    ("RSI", {"": "RSI_14"}, "RSI_14"),
    ("BBP", {"": "BBP_20_2.0"}, "BBP_20_2.0"),
    *((name.replace("_", ""), {"": name}, name) for name in AVERAGES),
    ("STOCH", {"K ": "STOCHk_14_3_3", "D ": "STOCHd_14_3_3"}, "STOCH"),
    ("ADX", {"": "ADX_14"}, "ADX_14"),
    ("CMF", {"": "CMF_20"}, "CMF_20"),
    ("MFI", {"": "MFI_14"}, "MFI_14"),
    ("ROC", {"": "ROC_10"}, "ROC_10"),
    ("TRIX", {"": "TRIX_30_9"}, "TRIX_30_9"),
    ("CCI", {"": "CCI_14_0.015"}, "CCI_14_0.015"),
    ("OBV", {"": "OBV"}, "OBV"),
    ("pivots", {f"{name} " if name != "PIVOT" else "P ": name for name in PIVOTS}, "pivots"),
)
"""A line's label, its figures (prefix -> metric) and the key of its reading."""


def _format_metric(values: Values, prefix: str, name: str) -> str:
    """Format one metric: a moving average as the price's distance from it, if the price is known."""
    away = distance(values, name) if name in AVERAGES else None
    if away is not None:
        return f"price {100 * away:+.1f}%"
    return prefix + figure(values[name], 4 if name in LEVELS else 3)


@dataclass(frozen=True)
class Line:
    """An indicator in the prompt: its figures, and its reading if it has one."""

    label: str
    figures: tuple[str, ...]
    reading: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.label, *self.figures, self.reading)))


def evidence(values: Values) -> dict[str, Line]:
    """Return a line per known indicator, by the key of its reading, or by its label if it has none."""
    words = readings(values)
    lines = {}
    for label, figures, reading in LINES:
        shown = tuple(_format_metric(values, prefix, name) for prefix, name in figures.items() if name in values)
        if shown:
            lines[reading or label] = Line(label, shown, words.get(reading, ""))
    return lines


def _reading_lines(values: Values) -> list[str]:
    """Return a line without figures per indicator that has a reading."""
    words = readings(values)
    return [f"{label} {words[reading]}" for label, _, reading in LINES if reading in words]


def messages(metrics: Metrics, ticker: str | None, detail: Detail) -> list[Message]:
    """Return the prompt of a recommendation. One user turn: Mistral's template has no system role.

    `full` contains figures and readings, for an analysis that cites them. `brief` contains the readings alone, which
    halves the prompt, or the figures if there is no reading.
    """
    values = metrics.values()
    lines = (_reading_lines(values) if detail == "brief" else []) or [str(line) for line in evidence(values).values()]
    stock = [f"ticker {ticker.upper()}"] if ticker else []
    return [{"role": "user", "content": f"{TASK}{ANSWER[detail]}\n\n" + "\n".join([*lines, *stock])}]
