"""Readings: the zone of each indicator in words.

Small models compare numbers badly, so the prompt states these next to the raw figures. A reading only describes
("overbought", "above", "puts far dearer"); its meaning for the stock is left to the analyst. Bounds are
the textbook ones (RSI 30/70, stochastic and MFI 20/80, ADX 25; J. W. Wilder 1978, G. Lane).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

Values = Mapping[str, float]


class Scale:
    """Words for the intervals between ascending bounds; a bound belongs to the interval above it."""

    def __init__(self, *steps: str | float) -> None:
        self.words = [step for step in steps if isinstance(step, str)]
        self.bounds = [step for step in steps if not isinstance(step, str)]

    def __call__(self, value: float) -> str:
        return self.words[bisect_right(self.bounds, value)]


PAIR = Scale("puts far dearer", 1 / 1.5, "puts dearer", 1 / 1.1, "even", 1.1, "calls dearer", 1.5, "calls far dearer")
LEVEL = Scale("far below", -0.15, "below", -0.003, "at", 0.003, "above", 0.15, "far above")

SCALES: dict[str, Scale] = {
    "iv_skew": Scale("puts far dearer", -15, "puts dearer", -5, "even", 1, "calls dearer"),
    "put_call_ratio": Scale("few puts", 0.35, "more calls", 0.75, "even", 1.25, "more puts", 3, "puts crowded"),
    "MACD_12_26_9": Scale("negative", 0, "positive"),
    "MACDh_12_26_9": Scale("negative", 0, "positive"),
    "RSI_14": Scale("oversold", 30, "weak", 45, "neutral", 55, "firm", 70, "overbought"),
    "BBP_20_2.0": Scale("under the bands", 0, "lower half", 0.4, "middle", 0.6, "upper half", 1, "over the bands"),
    "ADX_14": Scale("no trend", 25, "trending"),
    "CMF_20": Scale("outflow", -0.05, "even", 0.1, "inflow"),
    "MFI_14": Scale("oversold", 20, "weak", 40, "neutral", 60, "firm", 80, "overbought"),
    "ROC_10": Scale("plunging", -15, "falling", -2, "flat", 2, "rising", 15, "soaring"),
    "TRIX_30_9": Scale("falling", -0.05, "flat", 0.1, "rising"),
    "CCI_14_0.015": Scale("oversold", -200, "weak", -75, "neutral", 75, "firm", 200, "overbought"),
    "OBV": Scale("selling", 0, "buying"),
}

AVERAGES = ("SMA_20", "SMA_50", "SMA_200", "EMA_50")
PIVOTS = ("S2", "S1", "PIVOT", "R1", "R2")


def distance(values: Values, level: str) -> float | None:
    """Return the price's distance from a level as a fraction of the level; None if either is missing."""
    price, reference = values.get("price"), values.get(level)
    return None if price is None or reference is None or reference <= 0 else price / reference - 1


def _implied_volatility(values: Values) -> str | None:
    ivs = [values[name] for name in ("call_iv_avg", "put_iv_avg") if name in values]
    return Scale("calm", 25, "usual", 60, "high")(sum(ivs) / len(ivs)) if ivs else None


def _last_price(values: Values) -> str | None:
    call, put = values.get("call_last_price_avg"), values.get("put_last_price_avg")
    return None if call is None or not put else PAIR(call / put)


def _open_interest(values: Values) -> str | None:
    call, put = values.get("call_open_interest"), values.get("put_open_interest")
    return None if not call or put is None else Scale("more calls", 0.7, "even", 1.3, "more puts")(put / call)


def _stochastic(values: Values) -> str | None:
    k, d = values.get("STOCHk_14_3_3"), values.get("STOCHd_14_3_3")
    if k is None or d is None:
        return None
    zone = Scale("oversold", 20, "", 80, "overbought")(d)
    return zone or ("rising" if k > d else "falling")


def _pivots(values: Values) -> str | None:
    price, levels = values.get("price"), [values.get(name) for name in PIVOTS]
    if price is None or any(level is None for level in levels):
        return None
    words = ("under S2", "under S1", "under pivot", "over pivot", "over R1", "over R2")
    return words[sum(level is not None and price > level for level in levels)]


JOINT: dict[str, Callable[[Values], str | None]] = {
    "IV": _implied_volatility,
    "last price": _last_price,
    "open interest": _open_interest,
    "STOCH": _stochastic,
    "pivots": _pivots,
}
"""Readings that combine several metrics."""


def readings(values: Values) -> dict[str, str]:
    """Return the reading of each indicator whose metrics are known, by metric name or by a key of `JOINT`."""
    single = {name: scale(values[name]) for name, scale in SCALES.items() if name in values}
    levels = {name: LEVEL(away) for name in AVERAGES if (away := distance(values, name)) is not None}
    joint = {name: word for name, read in JOINT.items() if (word := read(values)) is not None}
    return single | levels | joint
