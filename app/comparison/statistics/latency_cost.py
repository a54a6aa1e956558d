"""Latency, tokens, cost and unsupported figures of one backend's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np

from app.comparison.failure_codes import failure_code
from app.comparison.records import NO_ACTION, NO_COUNT, Records, select
from app.comparison.statistics.estimate import Numbers, short
from app.contract.recommendation import ACTIONS
from app.pricing.prices import in_usd

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Spread:
    """A mean and quantiles over answers."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, numbers: Numbers, mean: float | None = None) -> Self | None:
        """Return the spread of the finite numbers; None without any. `mean` replaces their own mean."""
        finite = numbers[np.isfinite(numbers)]
        if not len(finite):
            return None
        center = float(finite.mean(dtype=np.float64)) if mean is None else mean
        return cls(short(center), *(short(float(number)) for number in np.quantile(finite, QUANTILES)))

    def rate(self) -> Spread | None:
        """Convert milliseconds per token to tokens per second; 95% of the answers reach the p95."""
        if not min(self.mean, self.p50, self.p95, self.p99) > 0:
            return None
        return Spread(*(short(1000 / each) for each in (self.mean, self.p50, self.p95, self.p99)))


@dataclass(frozen=True)
class Tokens:
    """Tokens of all answers; `input` does not include `cached_input`."""

    input: int
    cached_input: int
    output: int


@dataclass(frozen=True)
class UnsupportedFigures:
    """Figures in analyses that the metrics do not support."""

    analyses: int
    analyses_with_invented: int
    figures: int
    invented: int


@dataclass(frozen=True)
class LatencyCost:
    """The totals of one backend over pairs. USD are decimals, null where undefined.

    `ms_per_token` is the mean over tokens, and quantiles over answers.
    """

    answered: int
    failed: dict[str, int]
    actions: dict[str, int]
    stand_ins: int
    latency_ms: Spread | None
    ttft_ms: Spread | None
    ms_per_token: Spread | None
    tokens_per_second: Spread | None
    tokens: Tokens
    usd: str
    usd_per_recommendation: str | None
    usd_per_1k_tokens: str | None
    invention: UnsupportedFigures


def latency_cost(sides: Records) -> LatencyCost:
    """Return the totals of one backend's sides."""
    answers = select(sides, sides["action"] != NO_ACTION)
    sums = {name: int(answers[name].sum(dtype=np.int64)) for name in ("input_tokens", "cached_tokens", "output_tokens")}
    nano_usd = int(answers["nano_usd"].sum())
    rate = _ms_per_token(answers)
    return LatencyCost(
        answered=len(answers),
        failed=_failed(sides),
        actions={action: int((answers["action"] == index).sum()) for index, action in enumerate(ACTIONS)},
        stand_ins=int(answers["stand_in"].sum()),
        latency_ms=Spread.of(answers["total_ms"]),
        ttft_ms=Spread.of(answers["ttft_ms"]),
        ms_per_token=rate,
        tokens_per_second=rate.rate() if rate else None,
        tokens=Tokens(sums["input_tokens"] - sums["cached_tokens"], sums["cached_tokens"], sums["output_tokens"]),
        usd=in_usd(nano_usd),
        usd_per_recommendation=_usd(nano_usd, len(answers)),
        usd_per_1k_tokens=_usd(1000 * nano_usd, sums["input_tokens"] + sums["output_tokens"]),
        invention=_unsupported_figures(answers),
    )


def columns(records: Records, backend: str) -> Mapping[str, Numbers]:
    """Return the columns for the ratios of means, to be summed over clusters; names start with the backend."""
    side = records[backend]
    steps = np.maximum(side["output_tokens"].astype(np.float64) - 1, 0)
    per_token, first = side["ms_per_token"].astype(np.float64), side["ttft_ms"].astype(np.float64)
    timed = np.isfinite(per_token)
    return {
        f"{backend} total_ms": np.nan_to_num(side["total_ms"].astype(np.float64)),
        f"{backend} ttft_ms": np.nan_to_num(first),
        f"{backend} ttfts": np.isfinite(first).astype(np.float64),
        f"{backend} steps_ms": np.where(timed, per_token, 0) * steps,
        f"{backend} steps": np.where(timed, steps, 0),
        f"{backend} nano_usd": side["nano_usd"].astype(np.float64),
        f"{backend} tokens": side["input_tokens"].astype(np.float64) + side["output_tokens"],
    }


def _ms_per_token(answers: Records) -> Spread | None:
    per_token = answers["ms_per_token"].astype(np.float64)
    steps = np.where(np.isfinite(per_token), np.maximum(answers["output_tokens"].astype(np.float64) - 1, 0), 0)
    total = steps.sum()
    return Spread.of(per_token, float(np.nan_to_num(per_token) @ steps / total)) if total else None


def _failed(sides: Records) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for index, count in enumerate(np.bincount(sides["failure"])):
        if count and (code := failure_code(index)):
            counts[code] += int(count)
    return counts


def _unsupported_figures(answers: Records) -> UnsupportedFigures:
    checked = select(answers, answers["figures"] != NO_COUNT)
    return UnsupportedFigures(
        analyses=len(checked),
        analyses_with_invented=int((checked["unsupported"] > 0).sum()),
        figures=int(checked["figures"].sum(dtype=np.int64)),
        invented=int(checked["unsupported"].sum(dtype=np.int64)),
    )


def _usd(nano_usd: int, count: int) -> str | None:
    """Return the USD per unit, rounded to a nano-dollar; None for no units."""
    return in_usd(round(Fraction(nano_usd, count))) if count else None
