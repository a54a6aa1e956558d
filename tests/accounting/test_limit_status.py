"""Limit status: headers and gauges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.accounting.admission import Admissions
from app.contract.completion import Usage
from app.errors import RateLimited
from app.pricing.limits import Estimate, Limits, Scope
from tests.stores.conftest import Clock

SCOPES = (
    Scope("key:0123456789ab", Limits(100, 10_000, 2_000_000)),
    Scope("backend:gpt-4", Limits(tokens_per_minute=60_000)),
)
ESTIMATE = Estimate(1500, 500_000)


async def test_headers_hold_the_remainder_and_the_reset(
    admissions: Admissions, names: Iterator[str], clock: Clock
) -> None:
    admission = await admissions.admit(next(names), SCOPES, "gpt-4", ESTIMATE, lease_s=100)
    assert admission.limit_status.headers() == {
        "RateLimit-Policy": '"key-requests";q=100;w=60, "key-tokens";q=10000;w=60, '
        '"key-budget";q=2000000;w=86400, "backend-tokens";q=60000;w=60',
        "RateLimit": '"key-requests";r=99;t=1, "key-tokens";r=8500;t=9, '
        '"key-budget";r=1500000;t=43200, "backend-tokens";r=58500;t=2',
    }
    await clock.forward(1_000_000)
    later = await admissions.limit_status(SCOPES)
    assert later.headers()["RateLimit"].startswith('"key-requests";r=100;t=0, "key-tokens";r=8666;t=8, ')


async def test_a_refusal_has_the_same_headers(admissions: Admissions, names: Iterator[str], clock: Clock) -> None:
    scopes = (Scope("key:0123456789ab", Limits(requests_per_minute=1)),)
    await admissions.admit(next(names), scopes, "gpt-4", ESTIMATE, lease_s=100)
    await clock.forward(500_000)
    with pytest.raises(RateLimited) as caught:
        await admissions.admit(next(names), scopes, "gpt-4", ESTIMATE, lease_s=100)
    assert caught.value.headers() == {
        "Retry-After": "60",
        "RateLimit-Policy": '"key-requests";q=1;w=60',
        "RateLimit": '"key-requests";r=0;t=60',
    }
    assert caught.value.retry_after == 59.5


async def test_gauges_show_the_used_budget(admissions: Admissions, names: Iterator[str], clock: Clock) -> None:
    settled, unconfirmed, under_way = next(names), next(names), next(names)
    for name, lease_s in ((settled, 100), (unconfirmed, 1), (under_way, 100)):
        await admissions.admit(name, SCOPES, "gpt-4", ESTIMATE, lease_s=lease_s, sent=True)
    await admissions.settle(settled, Usage(1, 1), 7)
    await clock.forward(1_000_000)
    await admissions.sweep()
    assert (await admissions.limit_status(SCOPES)).used_nano_usd("backend:gpt-4") == 500_007
    with pytest.raises(KeyError):
        (await admissions.limit_status(SCOPES)).used_nano_usd("backend:mistral")
