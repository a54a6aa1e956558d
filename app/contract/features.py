"""The metrics of a recommendation: names, units, bounds, and two that are derived from others."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MIN_METRICS = 3
SKEW_TOLERANCE = 0.11  # percentage points: both IVs and the skew may be rounded to one decimal
RATIO_TOLERANCE = 0.01  # relative, or absolute below a ratio of one


def _number(
    low: float, high: float, title: str, description: str, alias: str | None = None, above: bool = False
) -> Any:
    """Return a field for an optional, finite number within [low, high], or (low, high] if `above`.

    `description`: one line that ends with the unit.
    """
    bounds: dict[str, Any] = {"gt" if above else "ge": low, "le": high}
    return Field(
        default=None, title=title, description=description, alias=alias, strict=True, allow_inf_nan=False, **bounds
    )


def _require_iso_date(day: Any) -> Any:
    """Reject the other forms of a date that pydantic accepts: a timestamp, or a date with a time."""
    if type(day) is date or (isinstance(day, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", day)):
        return day
    raise ValueError("must be a date such as 2024-03-08")


Day = Annotated[date, BeforeValidator(_require_iso_date)]


def _whole(number: Any) -> Any:
    """Return 268.0 as 268: JSON has one kind of number."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Number = float | None
Count = Annotated[int | None, BeforeValidator(_whole)]

PRICE_MAX = 1e7
"""USD. The most expensive share, Berkshire Hathaway's class A, trades below 1e6."""
COUNT_MAX = 10**10


class _Group(BaseModel):
    """Optional numbers under the names that clients use."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=False, validate_by_alias=True)


class Options(_Group):
    """Statistics of one option chain: unweighted means over strikes, sums over strikes."""

    call_iv_avg: Number = _number(0, 1000, "Call implied volatility", "mean implied volatility of calls, percent")
    put_iv_avg: Number = _number(0, 1000, "Put implied volatility", "mean implied volatility of puts, percent")
    iv_skew: Number = _number(-1000, 1000, "Implied volatility skew", "call_iv_avg - put_iv_avg, percentage points")
    call_last_price_avg: Number = _number(0, PRICE_MAX, "Call last price", "mean last price of calls, USD")
    put_last_price_avg: Number = _number(0, PRICE_MAX, "Put last price", "mean last price of puts, USD")
    call_volume: Count = _number(0, COUNT_MAX, "Call volume", "calls traded, contracts")
    put_volume: Count = _number(0, COUNT_MAX, "Put volume", "puts traded, contracts")
    put_call_ratio: Number = _number(0, 1e6, "Put-call ratio", "put_volume / call_volume, a ratio")
    call_open_interest: Count = _number(0, COUNT_MAX, "Call open interest", "calls not yet closed, contracts")
    put_open_interest: Count = _number(0, COUNT_MAX, "Put open interest", "puts not yet closed, contracts")

    @model_validator(mode="after")
    def _derive_and_check(self) -> Self:
        skew = put_call = None
        if self.call_iv_avg is not None and self.put_iv_avg is not None:
            skew = round(self.call_iv_avg - self.put_iv_avg, 4)
        if self.call_volume and self.put_volume is not None:
            put_call = round(self.put_volume / self.call_volume, 4)
        self._derive_or_check("iv_skew", skew, SKEW_TOLERANCE, "call_iv_avg - put_iv_avg")
        tolerance = RATIO_TOLERANCE * max(1.0, put_call or 0.0)
        self._derive_or_check("put_call_ratio", put_call, tolerance, "put_volume / call_volume")
        return self

    def _derive_or_check(self, name: str, derived: float | None, tolerance: float, formula: str) -> None:
        """Set `name` to the derived value, or raise `ValueError` if the given one contradicts it."""
        given: float | None = getattr(self, name)
        if derived is None:
            return
        if given is None:
            if derived <= 1e6:
                object.__setattr__(self, name, derived)
        elif abs(given - derived) > tolerance:
            raise ValueError(f"{name} is {given:g}, but {formula} is {derived:g}")


class Technicals(_Group):
    """Indicators of daily bars at one close, under pandas-ta's column names."""

    macd: Number = _number(-PRICE_MAX, PRICE_MAX, "MACD", "12-bar less 26-bar EMA of the close, USD", "MACD_12_26_9")
    macd_histogram: Number = _number(
        -PRICE_MAX, PRICE_MAX, "MACD histogram", "MACD less its signal, USD", "MACDh_12_26_9"
    )
    macd_signal: Number = _number(-PRICE_MAX, PRICE_MAX, "MACD signal", "9-bar EMA of the MACD, USD", "MACDs_12_26_9")
    rsi: Number = _number(0, 100, "Relative strength index", "gains against losses of 14 bars, index", "RSI_14")
    bbp: Number = _number(
        -1, 2, "Bollinger position", "close between the 20-bar bands, 0 lower band, 1 upper band", "BBP_20_2.0"
    )
    sma_20: Number = _number(
        0, PRICE_MAX, "20-bar average", "simple moving average of the close, USD", "SMA_20", above=True
    )
    sma_50: Number = _number(
        0, PRICE_MAX, "50-bar average", "simple moving average of the close, USD", "SMA_50", above=True
    )
    sma_200: Number = _number(
        0, PRICE_MAX, "200-bar average", "simple moving average of the close, USD", "SMA_200", above=True
    )
    ema_50: Number = _number(
        0, PRICE_MAX, "50-bar EMA", "exponential moving average of the close, USD", "EMA_50", above=True
    )
    stochastic_k: Number = _number(
        0, 100, "Stochastic %K", "close within the 14-bar range, mean of 3 bars, percent", "STOCHk_14_3_3"
    )
    stochastic_d: Number = _number(0, 100, "Stochastic %D", "3-bar mean of %K, percent", "STOCHd_14_3_3")
    adx: Number = _number(0, 100, "Average directional index", "strength of the trend over 14 bars, index", "ADX_14")
    cmf: Number = _number(
        -1, 1, "Chaikin money flow", "close within each bar's range, by volume, over 20 bars, ratio", "CMF_20"
    )
    mfi: Number = _number(0, 100, "Money flow index", "inflow against outflow of 14 bars, index", "MFI_14")
    roc: Number = _number(-100, 1e5, "Rate of change", "change over 10 bars, percent", "ROC_10")
    trix: Number = _number(-100, 1e4, "TRIX", "one-bar change of a triple 30-bar EMA, percent", "TRIX_30_9")
    cci: Number = _number(
        -500,
        500,
        "Commodity channel index",
        "distance of the typical price from its 14-bar mean, index",
        "CCI_14_0.015",
    )
    obv: Number = _number(
        -1e7, 1e7, "On-balance volume", "volume of rising less falling bars, 250 bars, millions of shares", "OBV"
    )
    pivot: Number = _number(-PRICE_MAX, PRICE_MAX, "Pivot", "mean of the prior bar's high, low and close, USD", "PIVOT")
    r1: Number = _number(-PRICE_MAX, PRICE_MAX, "First resistance", "level above the pivot, USD", "R1")
    r2: Number = _number(-PRICE_MAX, PRICE_MAX, "Second resistance", "level above the first resistance, USD", "R2")
    s1: Number = _number(-PRICE_MAX, PRICE_MAX, "First support", "level below the pivot, USD", "S1")
    s2: Number = _number(-PRICE_MAX, PRICE_MAX, "Second support", "level below the first support, USD", "S2")


class Metrics(BaseModel):
    """The metrics of one stock at one close. Each is optional; at least three are needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: Day | None = Field(default=None, description="the close the metrics belong to")
    price: Number = _number(0, PRICE_MAX, "Close", "the session's last price, USD", above=True)
    options: Options = Options()
    technicals: Technicals = Technicals()

    @model_validator(mode="before")
    @classmethod
    def _require_enough(cls, data: Any) -> Any:
        if isinstance(data, dict):
            groups = (data.get("options"), data.get("technicals"))
            given = [data.get("price"), *(v for g in groups if isinstance(g, dict) for v in g.values())]
            count = sum(value is not None for value in given) + sum(
                len(g.model_dump(exclude_none=True)) for g in groups if isinstance(g, _Group)
            )
            if count < MIN_METRICS:
                raise ValueError(f"at least {MIN_METRICS} metrics are needed, {count} given")
        return data

    def values(self) -> dict[str, float]:
        """Return the known metrics in one mapping, by the names that clients use."""
        price = {} if self.price is None else {"price": self.price}
        return {
            **price,
            **self.options.model_dump(by_alias=True, exclude_none=True),
            **self.technicals.model_dump(by_alias=True, exclude_none=True),
        }

    def missing(self) -> list[str]:
        """Return the names of the unknown metrics, in the schema's order."""
        known = self.values()
        return [name for name in METRIC_NAMES if name not in known]

    def document(self) -> dict[str, Any]:
        """Return the JSON form that clients send and receive, without missing metrics."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


OPTION_NAMES = tuple(Options.model_fields)
TECHNICAL_NAMES = tuple(field.alias or name for name, field in Technicals.model_fields.items())
METRIC_NAMES = ("price", *OPTION_NAMES, *TECHNICAL_NAMES)

Ticker = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-]{0,9}$",
        description="US ticker symbol; letters, digits, dot and hyphen, at most ten",
        examples=["SNPS"],
    ),
]


def normalized_ticker(ticker: str) -> str:
    """Return the ticker in capitals, a share class after a dot: brk-b and BRK.B are the same."""
    return ticker.upper().replace("-", ".")
