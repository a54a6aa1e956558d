"""The estimate printed before the first call: prompts, tokens, USD at list price, and the cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from app.pricing.prices import in_usd, prices
from training.labeling.cap import Cap
from training.labeling.prompts import Question
from training.labeling.tariff import TYPICAL_ANSWER, Tariff, answer_limit, likely_tokens, most_tokens


@dataclass(frozen=True)
class Load:
    """Tokens and nano-dollars of a number of calls."""

    prompt_tokens: int
    completion_tokens: int
    nano_usd: int

    def __str__(self) -> str:
        return f"{self.prompt_tokens:,} tokens in, {self.completion_tokens:,} out, ${in_usd(self.nano_usd)}"


def likely(pending: Iterable[Question], tariff: Tariff) -> Load:
    prompts = [one.prompt for one in pending]
    return Load(
        sum(map(likely_tokens, prompts)),
        sum(TYPICAL_ANSWER[prompt.detail] for prompt in prompts),
        sum(map(tariff.about, prompts)),
    )


def at_most(pending: Iterable[Question], tariff: Tariff) -> Load:
    prompts = [one.prompt for one in pending]
    return Load(
        sum(map(most_tokens, prompts)),
        sum(answer_limit(tariff.model, prompt) for prompt in prompts),
        sum(map(tariff.at_most, prompts)),
    )


def describe(questions: list[Question], pairs: int, cap: Cap, tariff: Tariff, tries: int) -> str:
    """Return the estimate as lines for the terminal."""
    pending = [one for one in questions if cap.journal.needs_answer(one.key, tries)]
    details = Counter(one.prompt.detail for one in pending)
    half = ", half of it by the batch" if tariff.batch else ""
    lines = [
        f"label: {pairs:,} pairs by {tariff.model}, at its list price of {prices().checked}{half}",
        f"  to ask: {len(pending):,} prompts ({details['brief']:,} brief, {details['full']:,} full); "
        f"{len(questions) - len(pending):,} answered or failed before",
        f"  about: {likely(pending, tariff)}",
        f"  at most: {at_most(pending, tariff)}, each prompt sent once",
        f"  cap: ${in_usd(cap.nano_usd)}, of which ${in_usd(cap.journal.spent)} is spent or reserved",
    ]
    if likely(pending, tariff).nano_usd > cap.left:
        lines.append("  labelling will stop at the cap: raise teacher.max_usd, or continue later")
    return "\n".join(lines)
