"""Many processes on one store: money is conserved when one of them or the store is killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.accounting.admission import Admissions, Follower, Leader
from app.contract.completion import Usage
from app.errors import BudgetExceeded, StoreUnavailable
from app.pricing.limits import Estimate, Limits, Scope
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from app.stores.shared_calls import NO_RESULT, SharedCalls
from tests.stores.callers import LEASE_S, NANO_USD, Order, Outcomes

pytestmark = pytest.mark.usefixtures("patient")

BACKEND = Scope("backend:gpt-4", Limits())

LEADER = """
import asyncio, sys
from pydantic import SecretStr
from app.accounting.admission import Admissions
from app.pricing.limits import Limits, Estimate, Scope
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
async def main():
    async with open_redis(SecretStr(sys.argv[1])) as redis:
        admissions = Admissions(Pipelined(redis, 60))
        scopes = (Scope("backend:gpt-4", Limits()),)
        await admissions.admit("leader", scopes, "gpt-4", Estimate(10, 1000), lease_s=3, call_key="f", sent=True)
        while await admissions.renew("leader", 3):
            print("renewed", flush=True)
            await asyncio.sleep(0.3)
asyncio.run(main())
"""


async def sums(redis: Redis) -> dict[str, int]:
    """The sums of the ledger over all days."""
    totals: dict[str, int] = {}
    for day in await redis.keys("conviction:ledger:gpt-4:*"):
        for name, amount in (await redis.hgetall(day)).items():
            totals[name] = totals.get(name, 0) + int(amount)
    return totals


async def budget_days(redis: Redis, scope: str) -> list[tuple[int, int]]:
    """Nano-dollars used and reserved, by day."""
    days = [await redis.hgetall(day) for day in await redis.keys(f"conviction:budget:{scope}:*")]
    return [(int(amounts.get("used", 0)), int(amounts.get("reserved", 0))) for amounts in days]


async def budgets(redis: Redis, scope: str) -> tuple[int, int]:
    """Nano-dollars used and reserved over all days."""
    days = await budget_days(redis, scope)
    return sum(used for used, _ in days), sum(reserved for _, reserved in days)


async def run_callers(url: str, orders: list[Order]) -> list[Outcomes]:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.stores.callers", url, json.dumps(asdict(order)), stdout=subprocess.PIPE
        )
        for order in orders
    ]
    outputs = [(await process.communicate())[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(orders)
    return [Outcomes(**json.loads(text)) for text in outputs]


@pytest.mark.parametrize(
    ("callers", "clocks_off_s"),
    [
        pytest.param(2500, (0.0, 0.0, 0.0, 0.0), marks=pytest.mark.slow, id="ten thousand"),
        pytest.param(300, (-86400.0, -3600.0, 30.0, 1e9), id="clocks off"),
    ],
)
async def test_many_callers_of_four_gateways_keep_one_budget(
    db_url: str, redis: Redis, store: Pipelined, callers: int, clocks_off_s: tuple[float, ...]
) -> None:
    """The budget is never exceeded, every nano-dollar is accounted for, and what is left is available once leases end.

    The same, with fewer, where each gateway's clock is off in its own way.
    """
    budget = callers * NANO_USD
    orders = [Order(f"gateway-{n}", callers, budget, off) for n, off in enumerate(clocks_off_s)]
    running = asyncio.create_task(run_callers(db_url, orders))
    while not running.done():
        for used, reserved in await budget_days(redis, "key:shared"):
            assert 0 <= used <= used + reserved <= budget
        await asyncio.sleep(0.05)
    outcomes = await running
    assert sum(each.refused for each in outcomes) > 0

    admissions = Admissions(store)
    deadline = time.monotonic() + 60
    while await redis.zcard("conviction:leases"):
        assert time.monotonic() < deadline
        await asyncio.sleep(LEASE_S / 10)
        await admissions.sweep()
    ledger = await sums(redis)
    assert ledger["requests"] == sum(each.paid for each in outcomes)
    assert ledger["nano_usd"] == sum(each.nano_usd for each in outcomes)
    assert ledger["unconfirmed_requests"] == sum(each.unconfirmed for each in outcomes)
    used, reserved = await budgets(redis, "key:shared")
    assert (used, reserved) == (ledger["nano_usd"] + ledger["unconfirmed_nano_usd"], 0)
    assert await budgets(redis, "backend:gpt-4") == (used, 0)

    today = (await admissions.limit_status(orders[0].scopes)).used_nano_usd("key:shared")
    whole, rest = divmod(budget - today, NANO_USD)
    for number in range(whole):
        name = f"after-{number}"
        assert await admissions.admit(name, orders[0].scopes, "gpt-4", Estimate(10, NANO_USD), lease_s=600)
    with pytest.raises(BudgetExceeded):
        await admissions.admit("one too many", orders[0].scopes, "gpt-4", Estimate(10, NANO_USD), lease_s=600)
    await admissions.admit("the rest", orders[0].scopes, "gpt-4", Estimate(10, rest), lease_s=600)


async def test_a_killed_gateway_s_call_is_made_again(
    db_url: str, redis: Redis, admissions: Admissions, follower: SharedCalls
) -> None:
    """Its call is charged as unconfirmed, and its follower makes the call."""
    leader = await asyncio.create_subprocess_exec(sys.executable, "-c", LEADER, db_url, stdout=subprocess.PIPE)
    assert leader.stdout
    await leader.stdout.readline()
    admission = await admissions.admit("follower", (BACKEND,), "gpt-4", Estimate(10, 7), lease_s=30, call_key="f")
    assert isinstance(admission, Follower)
    waiting = asyncio.create_task(follower.follow(admission.leader, "follower"))
    for _ in range(12):  # it renews its lease beyond the first
        await leader.stdout.readline()
    assert not waiting.done()
    leader.kill()
    await leader.wait()
    assert await asyncio.wait_for(waiting, 60) == NO_RESULT
    again = await admissions.admit("follower", (BACKEND,), "gpt-4", Estimate(10, 7), lease_s=30, call_key="f")
    assert isinstance(again, Leader)
    assert await sums(redis) == {"unconfirmed_requests": 1, "unconfirmed_nano_usd": 1000}


@pytest.fixture
async def persistent(tmp_path: Path) -> AsyncIterator[Redis]:
    """A persistent store, which is restarted when it dies."""
    async with open_redis(None, tmp_path) as redis:
        yield redis


async def test_no_money_is_lost_when_the_store_is_killed(persistent: Redis) -> None:
    """Confirmed settlements survive; others are repeated, and nothing is booked twice."""
    store = Pipelined(persistent)
    admissions, chance = Admissions(store), random.Random(4)
    admitted: list[str] = []
    costs: dict[str, int] = {}
    over = asyncio.Event()

    async def persist(name: str, cost: int) -> None:
        while True:
            try:
                assert await admissions.settle(name, Usage(cost, 0), cost) in ("settled", "repeated")
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)

    async def caller(number: int) -> None:
        for turn in range(10**6):
            name, cost = f"{number}-{turn}", chance.randrange(1000)
            try:
                await admissions.admit(name, (BACKEND,), "gpt-4", Estimate(10, 1000), lease_s=600, sent=True)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                admitted.append(name)
                if chance.random() < 0.8:
                    costs[name] = cost
                    await persist(name, cost)
            if over.is_set():
                return

    callers = asyncio.gather(*(caller(number) for number in range(16)))
    for _ in range(3):
        before = len(admitted)
        while len(admitted) < before + 200:
            assert not callers.done()
            await asyncio.sleep(0.01)
        os.kill(int((await persistent.info("server"))["process_id"]), signal.SIGKILL)
    over.set()
    await asyncio.wait_for(callers, 60)
    ledger = await sums(persistent)
    assert (ledger["requests"], ledger["nano_usd"]) == (len(costs), sum(costs.values()))
    used, reserved = await budgets(persistent, "backend:gpt-4")
    assert used == sum(costs.values())
    assert reserved >= 1000 * (len(admitted) - len(costs))  # more where an admission went through without its answer
    for name in set(admitted) - set(costs):
        assert await admissions.renew(name, 600)
    await store.close()
