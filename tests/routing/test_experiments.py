"""Which arm a subject is dealt to, and who moves when weights change."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.routing.experiments import BUCKETS, Arm, Experiment, Plan, bucket_of
from app.routing.headers import Choice

Weights = tuple[int, ...]
BACKENDS: tuple[Choice, ...] = ("mistral", "gpt-4", "cascade", "mistral")


def experiment(*weights: int, name: str = "tuned") -> Experiment:
    arms = zip("abcd", BACKENDS, weights, strict=False)
    return Experiment(name=name, arms=tuple(Arm(name=arm, backend=to, weight=weight) for arm, to, weight in arms))


@st.composite
def split(draw: st.DrawFn, arms: int) -> Weights:
    """Weights of so many arms."""
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), min_size=arms - 1, max_size=arms - 1)))
    return tuple(upper - lower for lower, upper in zip([0, *cuts], [*cuts, BUCKETS], strict=True))


def moves(before: Weights, after: Weights) -> Counter[tuple[str, str]]:
    """How many buckets go from which arm to which."""
    old, new = experiment(*before).owners, experiment(*after).owners
    return Counter((one.name, other.name) for one, other in zip(old, new, strict=True) if one.name != other.name)


def must(before: Weights, after: Weights) -> int:
    """Fewer cannot move: what the arms that shrink lose."""
    return sum(max(0, one - other) for one, other in zip(before, after, strict=True))


@given(st.integers(1, 4).flatmap(split))
@settings(max_examples=25, deadline=None)
def test_each_arm_has_as_many_buckets_as_it_weighs(weights: Weights) -> None:
    owned = Counter(arm.name for arm in experiment(*weights).owners)
    assert [owned[arm] for arm, _ in zip("abcd", weights, strict=False)] == list(weights)


@given(split(3), st.integers(0, BUCKETS))
@settings(max_examples=25, deadline=None)
def test_a_trade_between_the_last_two_of_three_arms_leaves_the_first_unchanged(before: Weights, given_up: int) -> None:
    first, second, third = before
    after = (first, second - min(second, given_up), third + min(second, given_up))
    assert moves(before, after) == Counter({("b", "c"): min(second, given_up)} if min(second, given_up) else {})


@given(split(3), split(3))
@settings(max_examples=40, deadline=None)
def test_of_three_arms_at_most_twice_as_many_move_as_must(before: Weights, after: Weights) -> None:
    least, moved = must(before, after), moves(before, after).total()
    assert least <= moved <= 2 * least + 4 * BUCKETS**0.5  # the orders are random: about a root off what is expected


def test_a_subject_s_bucket_is_its_hash_and_another_in_each_experiment() -> None:
    digest = sha256(b"tuned\nSNPS").digest()
    assert bucket_of("tuned", "SNPS") == int.from_bytes(digest[:8]) % 10_000
    one, other = experiment(5000, 5000), experiment(5000, 5000, name="brief")
    both = Counter((one.assign(f"user {n}").name, other.assign(f"user {n}").name) for n in range(4000))
    assert len(both) == 4
    assert all(850 < count < 1150 for count in both.values())  # a thousand each, give or take five deviations


def test_subjects_spread_as_the_weights_say() -> None:
    tuned = experiment(1000, 9000)
    dealt = Counter(tuned.assign(f"user {n}").name for n in range(10_000))
    assert 850 < dealt["a"] < 1150


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ({"experiments": [{"name": "x", "arms": []}]}, "add up to 0"),
        ({"experiments": [{"name": "x y", "arms": []}]}, "pattern"),
        ({"experiments": [], "more": 1}, "Extra inputs"),
        ({"experiments": [{"name": "x", "arms": [("a", "mistral", 4000), ("b", "gpt-4", 5000)]}]}, "9000, not to 1"),
        ({"experiments": [{"name": "x", "arms": [("a", "mistral", 5000), ("a", "gpt-4", 5000)]}]}, "one arm a"),
        ({"experiments": [{"name": "x", "arms": [("a", "gpt-5", 10000)]}]}, "'candidate' or 'cascade'"),
        ({"experiments": [{"name": "x", "arms": [("a", "mistral", -1), ("b", "gpt-4", 10001)]}]}, "greater than or"),
        ({"experiments": [{"name": "x", "arms": [("a", "mistral", 10000.5)]}]}, "valid integer"),
        ({"experiments": [{"name": "x", "detail": d, "arms": [("a", "mistral", 10000)]} for d in ("brief", "full")]},
         "more than one experiment is named x"),
        ({"experiments": [{"name": n, "arms": [("a", "mistral", 10000)]} for n in "xy"]}, "x and y both apply"),
    ],
)  # fmt: skip
def test_an_invalid_plan_is_refused_with_its_reason(plan: dict[str, object], complaint: str) -> None:
    for each in plan["experiments"]:  # type: ignore[attr-defined]
        each["arms"] = tuple(dict(zip(("name", "backend", "weight"), arm, strict=True)) for arm in each["arms"])
    with pytest.raises(ValidationError, match=complaint):
        Plan.model_validate({**plan, "experiments": tuple(plan["experiments"])})  # type: ignore[arg-type]


def test_details_may_have_an_experiment_each() -> None:
    brief, full = experiment(10_000), experiment(10_000, name="other").model_copy(update={"detail": "full"})
    plan = Plan(experiments=(brief.model_copy(update={"detail": "brief"}), full))
    assert [plan.experiment(detail).name for detail in ("brief", "full")] == ["tuned", "other"]  # type: ignore[union-attr]
    assert Plan(experiments=(full,)).experiment("brief") is None
