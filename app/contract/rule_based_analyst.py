"""The rule-based analyst: each reading casts a weighted vote, and the sum decides the action and the conviction.

It is the teacher where GPT-4 is unavailable, the stand-in's answers and a baseline; its answers are never presented
as another model's. Momentum readings vote with the move, exhausted ones (overbought, crowded puts) against it, a
trend (ADX) doubles the vote of the 50-day average, and missing metrics do not vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from app.contract.analysis import write_analysis
from app.contract.features import Metrics
from app.contract.prompt import Detail, Line, evidence
from app.contract.recommendation import Action, BriefAnswer, FullAnswer

NAME = "rules"
MODEL_ID = "rule-based-analyst-5"

VOTES: dict[str, dict[str, int]] = {
    "iv_skew": {"puts far dearer": -2, "puts dearer": -1, "calls dearer": 1},
    "put_call_ratio": {"few puts": -2, "more calls": 2, "more puts": -2, "puts crowded": 2},
    "last price": {"puts far dearer": -1, "puts dearer": -1},
    "open interest": {"more calls": 1, "more puts": -1},
    "MACD_12_26_9": {"negative": -2, "positive": 1},
    "MACDh_12_26_9": {"negative": -2, "positive": 2},
    "RSI_14": {"oversold": 3, "weak": -1, "firm": 1, "overbought": -3},
    "BBP_20_2.0": {"under the bands": 2, "lower half": -1, "upper half": 1, "over the bands": -3},
    "SMA_20": {"far below": 1, "below": -1, "above": 1, "far above": -1},
    "SMA_50": {"far below": -1, "below": -1, "above": 1, "far above": 1},
    "SMA_200": {"far below": 1, "below": -1, "above": 1, "far above": -1},
    "EMA_50": {"far below": -1, "below": -1, "above": 1, "far above": 1},
    "STOCH": {"oversold": 1, "falling": -1, "rising": 1, "overbought": -2},
    "CMF_20": {"outflow": -1, "inflow": 1},
    "MFI_14": {"oversold": 1, "overbought": -1},
    "ROC_10": {"plunging": 1, "falling": -1, "rising": 1, "soaring": -1},
    "TRIX_30_9": {"falling": -1, "rising": 1},
    "CCI_14_0.015": {"oversold": 1, "weak": -1, "firm": 1, "overbought": -1},
    "OBV": {"selling": -2, "buying": 1},
    "pivots": {"under S2": 1, "under S1": -1, "over R1": 1, "over R2": -1},
}
"""The weight of each reading: positive for the stock, negative against it, 0 if absent."""

TREND_FOLLOWER = "SMA_50"
"""Its vote counts twice while ADX indicates a trend."""

ACT_AT = 5
"""The lead from which the action is buy or sell."""


@dataclass(frozen=True)
class Vote:
    """One reading's vote: positive for the stock, negative against it."""

    indicator: str
    weight: int


@dataclass(frozen=True)
class Balance:
    """What decides an answer: the sum of the votes, whether implied volatility is high, and the number of readings."""

    lead: int
    high_iv: bool
    reading_count: int

    @property
    def action(self) -> Action:
        return "hold" if abs(self.lead) < ACT_AT else "buy" if self.lead > 0 else "sell"

    @property
    def conviction(self) -> int:
        return conviction(self.action, self.lead, self.high_iv, self.reading_count)


def votes(metrics: Metrics) -> list[Vote]:
    """Return the votes of the metrics in the prompt's order, without those of weight zero."""
    return votes_from(evidence(metrics.values()))


def votes_from(lines: Mapping[str, Line]) -> list[Vote]:
    """Return the votes of a prompt's lines in their order, without those of weight zero."""
    trending = "ADX_14" in lines and lines["ADX_14"].reading == "trending"
    doubled = TREND_FOLLOWER if trending else None
    cast = (
        Vote(name, VOTES.get(name, {}).get(line.reading, 0) * (2 if name == doubled else 1))
        for name, line in lines.items()
    )
    return [vote for vote in cast if vote.weight]


def conviction(action: Action, lead: int, high_iv: bool, reading_count: int) -> int:
    """Return the conviction, 1 to 10: it grows with the lead of a buy or sell, and with the balance of a hold.

    High implied volatility subtracts one, and half the number of readings is the maximum.
    """
    score = 7 - abs(lead) if action == "hold" else 2 + abs(lead) // 2
    return max(1, min(10, score - high_iv, ceil(reading_count / 2)))


def answer(metrics: Metrics, detail: Detail) -> BriefAnswer | FullAnswer:
    """Return the answer to metrics."""
    return answer_from(evidence(metrics.values()), detail)


def answer_from(lines: Mapping[str, Line], detail: Detail) -> BriefAnswer | FullAnswer:
    """Return the answer to a prompt's lines; only their readings matter."""
    decided = balance(lines)
    document = {"action": decided.action, "conviction": decided.conviction}
    if detail == "brief":
        return BriefAnswer.model_validate(document)
    conclusion = "too little to act" if decided.action == "hold" else f"enough to {decided.action}"
    cast = ((lines[vote.indicator], vote.weight) for vote in votes_from(lines))
    return FullAnswer.model_validate({**document, "analysis": write_analysis(cast, conclusion)})


def balance(lines: Mapping[str, Line]) -> Balance:
    """Return what a prompt's lines decide."""
    lead = sum(vote.weight for vote in votes_from(lines))
    high_iv = "IV" in lines and lines["IV"].reading == "high"
    return Balance(lead, high_iv, sum(bool(line.reading) for line in lines.values()))
