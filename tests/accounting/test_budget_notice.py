"""Which notices are due for what a budget's owner has spent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounting.budget_notice import Budget, Notice, due
from app.accounting.limit_status import LimitStatus
from app.pricing.limits import Limits, Scope
from app.pricing.prices import NANO

AT = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
LIMIT = 5 * NANO


def notices(spent: int, refused: int = 0, limit: int | None = LIMIT, reserved: int = 0) -> list[Notice]:
    budget = Budget(Scope("key:abc", Limits(nano_usd_per_day=limit)), key="research")
    text = f"{int(AT.timestamp() * 1e6)} 0 0 {spent} {reserved}".encode()
    return list(due(budget, LimitStatus((budget.scope,), text), refused))


def thresholds(spent: int, refused: int = 0, **changes: int | None) -> list[int]:
    return [each.threshold for each in notices(spent, refused, **changes)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spent", "reached"),
    [
        (0, []),
        (LIMIT // 2 - 1, []),
        (LIMIT // 2, [50]),
        (LIMIT * 8 // 10 - 1, [50]),
        (LIMIT * 8 // 10, [50, 80]),
        (LIMIT - 1, [50, 80]),
        (LIMIT, [50, 80, 100]),
        (2 * LIMIT, [50, 80, 100]),
    ],
)
def test_thresholds_are_exact(spent: int, reached: list[int]) -> None:
    assert thresholds(spent) == reached


def test_a_refusal_for_what_is_left_uses_the_budget_up() -> None:
    assert thresholds(LIMIT - 10, refused=10) == [50, 80]
    assert thresholds(LIMIT - 10, refused=11) == [50, 80, 100]
    assert thresholds(LIMIT // 4, refused=LIMIT) == [100]


def test_a_refusal_for_calls_in_flight_or_for_its_own_size_does_not() -> None:
    assert thresholds(0, refused=LIMIT, reserved=LIMIT) == []
    assert thresholds(LIMIT // 2, refused=LIMIT + 1) == [50]


@pytest.mark.parametrize("limit", [None, 0])
def test_no_budget_is_never_used_up(limit: int | None) -> None:
    assert thresholds(10**12, limit=limit) == []


@given(spent=st.integers(LIMIT, 10**15))
def test_amounts_are_exact_strings(spent: int) -> None:
    *_, last = notices(spent)
    body = json.loads(last.body())
    assert Decimal(body["spent_usd"]) * NANO == spent
    assert (body["limit_usd"], body["key"], body["backend"]) == ("5", "research", None)


def test_a_notice_states_its_day_and_has_the_same_id_all_day() -> None:
    [notice] = notices(LIMIT // 2)
    body = json.loads(notice.body())
    assert body["id"] == "key:abc:2026-11-30:50"
    assert body["window"] == {"from": "2026-11-30T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
    assert body["time"] == "2026-11-30T23:59:59Z"
    assert notices(LIMIT // 2 + 1)[0].id == notice.id
