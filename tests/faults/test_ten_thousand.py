"""Ten thousand callers on one budget that several gateways share."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import aiohttp
import pytest

from app.contract.prompt import Detail
from app.pricing.prices import NANO
from tests.faults.conftest import Start
from tests.faults.running import PRICE, Books, Replica, most, question, until
from tests.faults.upstream import Behavior, Upstream

MAX_CONCURRENCY = 500
USD = "0.2"
BUDGET = int(Decimal(USD) * NANO)
SCOPE = "key:local"
STALLED, QUEUED = 4, 5
LEAVES_S = 0.02


async def ask(
    client: aiohttp.ClientSession,
    replica: Replica,
    mark: str,
    detail: Detail = "brief",
    timeout_s: float | None = None,
) -> str:
    """Return the outcome: ok, the error's code, cut (connection lost), or left (client timeout)."""
    timeout = aiohttp.ClientTimeout(sock_read=timeout_s)
    try:
        pending = client.post(f"{replica.url}/v1/recommendations", json=question(mark, detail), timeout=timeout)
        async with pending as response:
            document = await response.json(content_type=None)
            return "ok" if response.status == 200 else str(document["code"])
    except aiohttp.ServerTimeoutError:
        return "left"
    except aiohttp.ClientError:
        return "cut"


async def call(client: aiohttp.ClientSession, replica: Replica, upstream: Upstream, number: int) -> str:
    """Make one of the calls. For some the client disconnects, for some upstream cuts the answer."""
    mark = upstream.mark(Behavior("cut") if number % 50 == 1 else None)
    return await ask(client, replica, mark, timeout_s=LEAVES_S if number % 50 == 2 else None)


async def watch(books: Books) -> None:
    """Require at any time that charges and reservations are within the budget."""
    while True:
        for day in await books.budget_days(SCOPE):
            assert 0 <= day["used"] <= day["used"] + day["reserved"] <= BUDGET, day
        await asyncio.sleep(0.02)


async def fill(client: aiohttp.ClientSession, replica: Replica, upstream: Upstream, books: Books) -> int:
    """Make calls until the budget is full, require no refusal before, and return their number."""
    filled = 0
    while True:
        [day] = await books.budget_days(SCOPE)
        mark = upstream.mark()
        fits = day["used"] + day["reserved"] + most(mark) <= BUDGET
        outcome = await ask(client, replica, mark)
        if outcome in ("cut", "store_unavailable"):  # a machine too busy for the store to answer in half a second
            await asyncio.sleep(1)
            continue
        assert outcome == ("ok" if fits else "budget_exceeded"), day
        if not fits:
            return filled
        filled += 1


@pytest.mark.parametrize("callers", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_many_callers_never_pass_one_budget(start: Start, upstream: Upstream, books: Books, callers: int) -> None:
    """Clients disconnect, upstream cuts answers, and a gateway with sent and queued calls is killed. Once all leases
    have ended, the rest of the budget is available to the last call that fits.
    """
    before = upstream.served("mistral")
    patient = {"CONVICTION_KEY_USD_PER_DAY": USD, "CONVICTION_BACKEND_TIMEOUT_S": "600"}
    killed = start(CONVICTION_MISTRAL_MAX_CONCURRENCY=str(STALLED), **patient)
    replicas = start.two(**patient)
    connector = aiohttp.TCPConnector(limit=MAX_CONCURRENCY + STALLED + QUEUED)
    async with aiohttp.ClientSession(connector=connector) as client:
        watcher = asyncio.create_task(watch(books))
        held = [upstream.mark(Behavior(stalls=True)) for _ in range(STALLED + QUEUED)]
        stalled = [asyncio.create_task(ask(client, killed, mark, "full")) for mark in held]
        await until(lambda: _held(upstream, books, held))

        outcome = Counter(await asyncio.gather(*(call(client, replicas[n % 2], upstream, n) for n in range(callers))))
        assert min(outcome["ok"], outcome["budget_exceeded"]) > 100, outcome

        killed.kill()
        assert await asyncio.gather(*stalled) == ["cut"] * len(held)
        await books.closed()
        budget, ledger = await books.budget(SCOPE), await books.ledger()
        assert (budget["reserved"], ledger["unconfirmed_requests"]) == (0, STALLED)
        assert ledger["unconfirmed_nano_usd"] == STALLED * most(held[0], "full")
        assert await fill(client, replicas[0], upstream, books) > 0
        assert not watcher.done()
        watcher.cancel()

    budget, ledger, after = await books.budget(SCOPE), await books.ledger(), upstream.served("mistral")
    assert budget["used"] == ledger["nano_usd"] + ledger["unconfirmed_nano_usd"] <= BUDGET
    tokens = after.prompt_tokens - before.prompt_tokens + after.completion_tokens - before.completion_tokens
    assert tokens * PRICE.usd_per_hour * NANO / PRICE.tokens_per_hour <= BUDGET


async def _held(upstream: Upstream, books: Books, marks: list[str]) -> bool:
    """Return whether all are admitted and `STALLED` of them have been sent."""
    return upstream.served("mistral", *marks).open == STALLED and await books.leases() == len(marks)
