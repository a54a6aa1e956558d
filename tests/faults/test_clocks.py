"""Gateways whose clocks differ by days: limits, budgets, leases and the cache use the store's clock."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.conftest import Start
from tests.faults.running import Books, Replica, question, stated, until
from tests.faults.upstream import Behavior, Upstream

PATH = "/v1/recommendations"
DAY_S = 86_400
LIMIT, ASKED = 20, 60


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def apart(start: Start, clock: Path, **settings: str) -> tuple[Replica, Replica]:
    """Start one gateway two days behind and one a day ahead."""
    behind, ahead = (start(LD_PRELOAD=str(clock), CLOCK_OFF_S=str(off), **settings) for off in (-2 * DAY_S, DAY_S))
    return behind, ahead


async def test_limits_and_budgets_hold_across_clocks_that_are_days_apart(
    start: Start, clock: Path, upstream: Upstream, books: Books
) -> None:
    behind, ahead = apart(start, clock, CONVICTION_KEY_REQUESTS_PER_MINUTE=str(LIMIT), CONVICTION_KEY_USD_PER_DAY="5")
    async with behind.client() as one, ahead.client() as other:
        first = [await client.post(PATH, json=question(upstream.mark())) for client in (one, other)]
        made = [datetime.fromisoformat(answer.json()["created_at"]) for answer in first]
        assert made[1] - made[0] > timedelta(days=2)
        began = time.monotonic()
        answers = await asyncio.gather(
            *(client.post(PATH, json=question(upstream.mark())) for client in (one, other) for _ in range(ASKED))
        )
        took = time.monotonic() - began
    through = Counter(answer.status_code for answer in answers)
    assert set(through) == {200, 429}
    assert LIMIT - 2 <= through[200] <= LIMIT + 1 + took * LIMIT / 60
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in answers if answer.status_code == 429)
    await books.closed()
    days, spent = await books.budget_days("key:local"), sum(map(stated, first))
    spent += sum(stated(answer) for answer in answers if answer.status_code == 200)
    assert sum(day["used"] for day in days) == spent
    dates = [str(key).rpartition(":")[2] for key in await books.redis.keys("conviction:ledger:mistral:*")]
    assert set(dates) <= {str((datetime.now(UTC) - timedelta(minutes=minutes)).date()) for minutes in (0, 10)}


async def test_a_gateway_with_another_clock_neither_ends_leases_nor_forgets_answers(
    start: Start, clock: Path, upstream: Upstream, books: Books
) -> None:
    """The second gateway shares the first one's call; then the answer comes from the cache, with its age."""
    behind, ahead = apart(start, clock)
    mark = upstream.mark(Behavior(pause_s=0.005))
    async with behind.client() as one, ahead.client() as other:
        leader = asyncio.create_task(one.post(PATH, json=question(mark, "full")))
        await until(lambda: upstream.tallies["mistral", mark].open == 1)
        follower = await other.post(PATH, json=question(mark, "full"))
        answers = [await leader, follower, await one.post(PATH, json=question(mark, "full"))]
    assert [answer.json()["source"] for answer in answers] == ["model", "coalesced", "cache"]
    assert 0 <= int(answers[2].headers["Age"]) < 60
    await books.closed()
    ledger = await books.ledger("mistral")
    assert (upstream.calls[mark], ledger["requests"], ledger["unconfirmed_requests"]) == (1, 1, 0)
