"""The bounds of a canary: what lets the next step come, what rolls back, and what is no evidence yet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.completion import BackendName
from app.routing.canary_policy import (
    RATIO,
    Bound,
    CanaryCheck,
    Counts,
    Verdict,
    checks,
    error_field,
    latency_field,
    verdict,
)
from app.settings.canary import CanarySettings

BOUNDS = CanarySettings(canary_min_requests=100, canary_min_pairs=20, canary_max_latency_ratio=1.25)
SAME = {"pairs": 100, "agreed": 95}


def answers(backend: BackendName, number: int, ms: float, detail: str = "brief") -> dict[str, int]:
    return {latency_field(backend, detail, ms): number}


USUAL = answers("mistral", 190, 500) | answers("mistral", 10, 1000)
GOOD = answers("candidate", 190, 500) | answers("candidate", 10, 1000)


def found(fields: dict[str, int], **settings: Any) -> dict[Bound, CanaryCheck]:
    bounds = BOUNDS.model_copy(update=settings)
    return {check.name: check for check in checks(Counts.of(fields), bounds)}


def decided(fields: dict[str, int], **settings: Any) -> Verdict:
    return verdict(list(found(fields, **settings).values()))


def test_a_candidate_like_the_incumbent_goes_on() -> None:
    assert decided(USUAL | GOOD | SAME) == "advance"
    assert {name: check.observations for name, check in found(USUAL | GOOD | SAME).items()} == {
        "errors": 200, "latency": 200, "agreement": 100
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {},
        USUAL,
        USUAL | answers("candidate", 99, 500) | SAME,
        answers("mistral", 99, 500) | GOOD | SAME,
        USUAL | GOOD | {"pairs": 19, "agreed": 19},
    ],
)
def test_too_little_is_no_evidence(fields: dict[str, int]) -> None:
    assert decided(fields) == "hold"


def test_agreement_may_be_no_condition() -> None:
    assert decided(USUAL | GOOD, canary_min_pairs=0) == "advance"


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({error_field("candidate"): 40}, "errors"),
        (answers("candidate", 60, 2000), "latency"),
        ({"agreed": 50}, "agreement"),
    ],
)
def test_a_candidate_that_is_clearly_worse_is_rolled_back(change: dict[str, int], bound: Bound) -> None:
    fields = USUAL | GOOD | SAME | change
    assert decided(fields) == "roll_back"
    assert [name for name, check in found(fields).items() if check.broken] == [bound]


@pytest.mark.parametrize(
    "change", [{error_field("candidate"): 6}, answers("candidate", 3, 2000), {"agreed": 79}], ids=str
)
def test_one_that_may_be_worse_by_chance_stays(change: dict[str, int]) -> None:
    assert decided(USUAL | GOOD | SAME | change) == "hold"


def test_a_dead_candidate_is_noticed_after_a_few_calls() -> None:
    usual = answers("mistral", 2000, 500)
    assert decided(usual | {error_field("candidate"): 5}) == "roll_back"


def test_failures_of_both_are_not_the_candidate_s() -> None:
    both = {error_field("candidate"): 100, error_field("mistral"): 100}
    assert not found(USUAL | GOOD | SAME | both)["errors"].broken
    assert not found({error_field("candidate"): 100})["errors"].broken  # nothing is known of the incumbent


def test_details_are_compared_apart() -> None:
    """A candidate that happens to write more full answers is not slower for it."""
    slow = answers("mistral", 50, 9000, "full") | answers("candidate", 200, 9000, "full")
    assert decided(USUAL | answers("candidate", 200, 500) | slow | SAME) == "advance"


@given(st.floats(0, 1e6), st.floats(1.4, 10))
def test_a_slower_p95_is_seen_whatever_the_scale(ms: float, factor: float) -> None:
    usual = max(ms, 10.0)
    fields = answers("mistral", 200, usual) | SAME
    assert decided(fields | answers("candidate", 200, usual * 1.25 / RATIO)) == "advance"
    assert decided(fields | answers("candidate", 200, usual * factor)) == "roll_back"
