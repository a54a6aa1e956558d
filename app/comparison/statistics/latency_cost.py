"""What answers of one backend took: time, tokens and money; and what figures they made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Self

import numpy as np

from app.comparison.pairs import FAILURES, NO_ACTION, NO_COUNT, Records, picked
from app.comparison.statistics.estimate import Numbers, short
from app.contract.recommendation import ACTIONS
from app.pricing.prices import plain

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
        """Of the numbers that there are; None of none. The mean may be another than theirs."""
        there = numbers[np.isfinite(numbers)]
        if not len(there):
            return None
        given = float(there.mean(dtype=np.float64)) if mean is None else mean
        return cls(short(given), *(short(float(number)) for number in np.quantile(there, QUANTILES)))

    def rate(self) -> Spread | None:
        """Of milliseconds each, how many a second: 95 of 100 answers reach its p95."""
        if not min(self.mean, self.p50, self.p95, self.p99) > 0:
            return None
        return Spread(*(short(1000 / each) for each in (self.mean, self.p50, self.p95, self.p99)))


@dataclass(frozen=True)
class Tokens:
    """Tokens of all answers; `cached_input` are not among the input."""

    input: int
    cached_input: int
    output: int


@dataclass(frozen=True)
class UnsupportedFigures:
    """Figures in analyses that the metrics do not contain."""

    analyses: int
    analyses_with_invented: int
    figures: int
    invented: int


@dataclass(frozen=True)
class Effort:
    """One backend's side of pairs. Milliseconds; USD in decimals, null where there is nothing to divide by.

    `ms_per_token` has the mean over tokens and the quantiles over answers.
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


def effort(sides: Records) -> Effort:
    """What the answers among one backend's sides took."""
    answers = picked(sides, sides["action"] != NO_ACTION)
    sums = {name: int(answers[name].sum(dtype=np.int64)) for name in ("input_tokens", "cached_tokens", "output_tokens")}
    nano_usd = int(answers["nano_usd"].sum())
    rate = _ms_per_token(answers)
    return Effort(
        answered=len(answers),
        failed=_failed(sides),
        actions={action: int((answers["action"] == place).sum()) for place, action in enumerate(ACTIONS)},
        stand_ins=int(answers["stand_in"].sum()),
        latency_ms=Spread.of(answers["total_ms"]),
        ttft_ms=Spread.of(answers["ttft_ms"]),
        ms_per_token=rate,
        tokens_per_second=rate.rate() if rate else None,
        tokens=Tokens(sums["input_tokens"] - sums["cached_tokens"], sums["cached_tokens"], sums["output_tokens"]),
        usd=plain(Decimal(nano_usd).scaleb(-9)),
        usd_per_recommendation=_usd(nano_usd, len(answers)),
        usd_per_1k_tokens=_usd(1000 * nano_usd, sums["input_tokens"] + sums["output_tokens"]),
        invention=_invention(answers),
    )


def columns(records: Records, backend: str) -> Mapping[str, Numbers]:
    """What is to be added up for the ratios of means, under names that begin with the backend's."""
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
    counts = np.bincount(sides["failure"], minlength=len(FAILURES))
    return {code: int(count) for code, count in zip(FAILURES, counts, strict=True) if code and count}


def _invention(answers: Records) -> UnsupportedFigures:
    judged = picked(answers, answers["figures"] != NO_COUNT)
    return UnsupportedFigures(
        analyses=len(judged),
        analyses_with_invented=int((judged["invented"] > 0).sum()),
        figures=int(judged["figures"].sum(dtype=np.int64)),
        invented=int(judged["invented"].sum(dtype=np.int64)),
    )


def _usd(nano_usd: int, among: int) -> str | None:
    """USD for one, to a nano-dollar."""
    return plain(Decimal(round(Fraction(nano_usd, among))).scaleb(-9)) if among else None
