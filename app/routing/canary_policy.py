"""What a canary decides on: pure functions of what was counted in its step.

Each bound is on a share: of failed calls, of answers slower than the incumbent's p95 times the permitted ratio (5% are
if the candidate's p95 is at the bound), of equal actions. The gateway looks every second, so a bound counts as broken
only if the whole confidence sequence is outside. The next step needs every share itself within its bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log
from typing import Literal, Self

from app.comparison.statistics.confidence_sequence import confidence_sequence
from app.contract.completion import CANDIDATE, INCUMBENT, BackendName
from app.settings.canary import CanarySettings

RATIO = 1.05
"""Of the bounds of two adjacent buckets of latencies."""
SLOWEST = 0.05
"""The share of answers that are slower than the p95."""
MIN_ANSWERS = 20
"""The fewest answers of the incumbent that have a p95."""
Bound = Literal["errors", "latency", "agreement"]
Verdict = Literal["advance", "hold", "roll_back"]
Buckets = Mapping[int, int]
"""The number of answers by bucket of their latency."""


@dataclass(frozen=True)
class CanaryCheck:
    """A share beside its bound; the value is null where nothing was counted."""

    name: Bound
    observations: int
    """Calls, answers or pairs."""
    value: float | None
    bound: float
    met: bool
    """Whether there are enough observations, and the value is within the bound."""
    broken: bool
    """Whether the value is outside the bound beyond doubt."""


@dataclass(frozen=True)
class Counts:
    """What was counted in a step."""

    errors: Mapping[BackendName, int] = field(default_factory=Counter)
    latencies: Mapping[tuple[BackendName, str], Buckets] = field(default_factory=dict)
    """By backend and detail."""
    pairs: int = 0
    agreed: int = 0

    @classmethod
    def of(cls, fields: Mapping[str, int]) -> Self:
        """Read the names that `error_field` and `latency_field` return, `pairs` and `agreed`."""
        errors: Counter[BackendName] = Counter()
        latencies: dict[tuple[BackendName, str], dict[int, int]] = {}
        for backend in (INCUMBENT, CANDIDATE):
            for name, count in fields.items():
                match name.split():
                    case [owner, "errors"] if owner == backend:
                        errors[backend] = count
                    case [owner, detail, number] if owner == backend:
                        latencies.setdefault((backend, detail), {})[int(number)] = count
        return cls(errors, latencies, fields.get("pairs", 0), fields.get("agreed", 0))

    def calls(self, backend: BackendName) -> int:
        """Return the number of calls that ended."""
        answers = (sum(buckets.values()) for (owner, _), buckets in self.latencies.items() if owner == backend)
        return self.errors.get(backend, 0) + sum(answers)


def error_field(backend: BackendName) -> str:
    return f"{backend} errors"


def latency_field(backend: BackendName, detail: str, ms: float) -> str:
    return f"{backend} {detail} {floor(log(max(ms, 1.0), RATIO))}"


def checks(counts: Counts, bounds: CanarySettings) -> Sequence[CanaryCheck]:
    """Return the state of each bound."""
    return list(_checks(counts, bounds))


def verdict(found: Sequence[CanaryCheck]) -> Verdict:
    if any(check.broken for check in found):
        return "roll_back"
    return "advance" if all(check.met for check in found) else "hold"


def _checks(counts: Counts, bounds: CanarySettings) -> Iterator[CanaryCheck]:
    calls, failed = counts.calls(CANDIDATE), counts.errors.get(CANDIDATE, 0)
    usual_calls, usual_failed = counts.calls(INCUMBENT), counts.errors.get(INCUMBENT, 0)
    measured, allowed = usual_calls >= bounds.canary_min_requests, bounds.canary_max_error_difference
    enough = measured and calls >= bounds.canary_min_requests
    difference = failed / calls - usual_failed / usual_calls if calls and usual_calls else None
    usual_high = _interval(usual_failed, usual_calls)[1]
    yield CanaryCheck(
        *("errors", calls, difference, allowed),
        met=enough and difference is not None and difference <= allowed,
        broken=_interval(failed, calls)[0] > usual_high + allowed,
    )
    answers, slow = _slow(counts, bounds.canary_max_latency_ratio)
    share = slow / answers if answers else None
    yield CanaryCheck(
        *("latency", answers, share, SLOWEST),
        met=enough and share is not None and share <= SLOWEST,
        broken=measured and _interval(slow, answers)[0] > SLOWEST,
    )
    pairs, least = counts.pairs, bounds.canary_min_agreement
    agreement = counts.agreed / pairs if pairs else None
    yield CanaryCheck(
        *("agreement", pairs, agreement, least),
        met=pairs >= bounds.canary_min_pairs and (agreement is None or agreement >= least),
        broken=_interval(counts.agreed, pairs)[1] < least,
    )


def _slow(counts: Counts, ratio: float) -> tuple[int, int]:
    """Return the candidate's answers of details that the incumbent answered too, and how many of them are too slow."""
    answers, slow, steps = 0, 0, log(ratio, RATIO)
    for (backend, detail), buckets in counts.latencies.items():
        usual = counts.latencies.get((INCUMBENT, detail), {})
        if backend == CANDIDATE and sum(usual.values()) >= MIN_ANSWERS:
            limit = _p95(usual) + steps
            answers += sum(buckets.values())
            slow += sum(count for bucket, count in buckets.items() if bucket > limit)
    return answers, slow


def _p95(buckets: Buckets) -> int:
    """Return the bucket of the 95th percentile."""
    left = SLOWEST * sum(buckets.values())
    for bucket in sorted(buckets, reverse=True):
        left -= buckets[bucket]
        if left < 0:
            return bucket
    return min(buckets)


def _interval(count: int, of: int) -> tuple[float, float]:
    """Return the bounds of a share that hold whenever they are read; 0 and 1 where nothing was counted."""
    found = confidence_sequence(count, of)
    if found is None or found.low is None or found.high is None:
        return 0.0, 1.0
    return found.low, found.high
