"""Money is conserved: under faults drawn at random, the books hold what upstream served."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
import pytest

from app.backends.base import BACKEND_NAMES, BackendName
from app.contract.prompt import Detail
from app.costs import list_price
from app.stand_in import Mode
from tests.faults.conftest import Start
from tests.faults.running import PRICE, Books, Replica, most, question, stated, until
from tests.faults.upstream import Doing, Upstream
from tests.valkey import Valkey

PATH = "/v1/recommendations"
CALLERS, LASTS_S = 6, 25.0
MODES: tuple[Mode | None, ...] = (None, None, None, None, "500", "503", "429", "cut", "garbled", "malformed", "length")
DETAILS: tuple[Detail, ...] = ("brief", "full")
ON_ITS_WAY = 30
"""Tokens that upstream may have sent, and a gateway not read, where one of its connections ended early."""
ESTIMATED = 1500
"""Tokens by which an estimate of a prompt may be wrong: more than a prompt has."""


@dataclass
class World:
    """Two gateways and their store, all of which are killed now and then, and callers who know nothing of that."""

    replicas: tuple[Replica, Replica]
    valkey: Valkey
    upstream: Upstream
    chance: random.Random
    over: float
    asked: dict[BackendName, set[str]] = field(default_factory=lambda: {name: set() for name in BACKEND_NAMES})
    lost: set[str] = field(default_factory=set)
    """Questions that were under way at a gateway when it was killed."""
    ended: Counter[str] = field(default_factory=Counter)
    early: Counter[BackendName] = field(default_factory=Counter)
    """Calls of which one of the connections may have ended early."""
    stated: Counter[BackendName] = field(default_factory=Counter)
    latest: str = ""

    async def caller(self) -> None:
        """Ask one drawn question after the other, now and then one that another caller asks, too."""
        while time.monotonic() < self.over:
            replica, backend = self.chance.choice(self.replicas), self.chance.choice(BACKEND_NAMES)
            doing = Doing(self.chance.choice(MODES), self.chance.choice((1, 3)), self.chance.choice((0.0, 0.002)))
            if not self.latest or self.chance.random() < 0.8:
                self.latest = self.upstream.mark(doing)
            leaves_s = self.chance.uniform(0.01, 0.3) if self.chance.random() < 0.2 else None
            self.early[backend] += leaves_s is not None or doing.mode in ("cut", "garbled")
            await self.ask(replica, backend, self.latest, self.chance.choice(DETAILS), leaves_s)

    async def ask(
        self, replica: Replica, backend: BackendName, mark: str, detail: Detail, leaves_s: float | None = None
    ) -> None:
        self.asked[backend].add(mark)
        try:
            async with replica.client() as client:
                answer = await client.post(
                    PATH, json=question(mark, detail), headers={"X-Backend": backend}, timeout=leaves_s or 60
                )
        except httpx.TimeoutException:
            self.ended["left"] += 1
        except httpx.TransportError:
            self.ended["gateway gone"] += 1
            self.lost.add(mark)
            await asyncio.sleep(0.1)
        else:
            self.ended["ok" if answer.status_code == 200 else answer.json()["code"]] += 1
            if answer.status_code == 200:
                self.stated[backend] += stated(answer)

    async def chaos(self) -> None:
        """Kill one thing after the other, and start it again; each at least once."""
        for event in (self.kill_a_gateway, self.kill_the_store):
            await event()
        while time.monotonic() < self.over:
            await self.chance.choice((self.kill_a_gateway, self.kill_the_store))()

    async def kill_a_gateway(self) -> None:
        """In mid-call."""
        replica, mark = self.chance.choice(self.replicas), self.upstream.mark(Doing(pause_s=0.02))
        asking = asyncio.create_task(self.ask(replica, "mistral", mark, "full"))
        await until(lambda: self.upstream.tallies["mistral", mark].open == 1 or asking.done())
        await asyncio.sleep(self.chance.uniform(0, 1))
        replica.kill()
        await asking
        await asyncio.to_thread(lambda: replica.start().wait())

    async def kill_the_store(self) -> None:
        """And wait until what was put off has been booked."""
        await asyncio.sleep(self.chance.uniform(0, 1))
        self.valkey.kill()
        await asyncio.sleep(self.chance.uniform(0.1, 1.5))
        await asyncio.to_thread(self.valkey.start)
        await asyncio.sleep(2)


@pytest.mark.slow
async def test_money_is_conserved_whatever_fails(
    start: Start, valkey: Valkey, upstream: Upstream, books: Books
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FAULTS_SEED={seed} draws the same faults, though not at the same moments")
    replicas = start.two(CONVICTION_KEY_USD_PER_DAY="1000")
    world = World(replicas, valkey, upstream, random.Random(seed), time.monotonic() + LASTS_S)
    await asyncio.gather(world.chaos(), *(world.caller() for _ in range(CALLERS)))
    await until(lambda: not any(upstream.served(name, *world.asked[name]).open for name in BACKEND_NAMES))
    await books.closed()
    assert min(world.ended["ok"], world.ended["gateway gone"]) > 0, world.ended
    for name in BACKEND_NAMES:
        balanced(world, name, await books.ledger(name))
    budget, ledger = await books.budget("key:local"), await books.ledger()
    assert ledger["unconfirmed_requests"] >= 1
    assert (budget["used"], budget["reserved"]) == (ledger["nano_usd"] + ledger["unconfirmed_nano_usd"], 0)
    for replica in replicas:
        async with replica.client() as client:
            stated(await client.post(PATH, json=question(upstream.mark())))


def balanced(world: World, name: BackendName, ledger: Counter[str]) -> None:
    """What was booked is what was served, but for calls of gateways that were killed: those are charged unconfirmed,
    at no more than was reserved for them.
    """
    booked = sum(ledger[kind] for kind in ("input_tokens", "cached_input_tokens", "output_tokens"))
    unsure = ON_ITS_WAY * world.early[name] + ESTIMATED * ledger["estimated_requests"]
    kept = tokens(world, name, world.asked[name] - world.lost)
    assert kept - unsure <= booked, (world, ledger)
    assert booked <= tokens(world, name, world.asked[name]) + ESTIMATED * ledger["estimated_requests"], (world, ledger)
    assert ledger["unconfirmed_requests"] <= world.ended["gateway gone"]
    assert ledger["nano_usd"] >= world.stated[name]
    if name == "mistral":
        assert ledger["nano_usd"] == booked * round(10**9 * PRICE.usd_per_hour / PRICE.tokens_per_hour)
        assert ledger["unconfirmed_nano_usd"] <= ledger["unconfirmed_requests"] * most("Q999999", "full")
    else:
        price = list_price("gpt-4.1")
        by_hand = 1000 * (
            ledger["input_tokens"] * price.input
            + ledger["cached_input_tokens"] * price.cached_input
            + ledger["output_tokens"] * price.output
        )
        assert by_hand <= ledger["nano_usd"] <= by_hand + ledger["requests"]


def tokens(world: World, name: BackendName, marks: Iterable[str]) -> int:
    served = world.upstream.served(name, *marks)
    return served.prompt_tokens + served.completion_tokens
