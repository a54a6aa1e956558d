"""Common faults of gateways, money: usage, cached tokens, races, leaked reservations, cache keys."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx

from app.contract.completion import Usage
from app.pricing.prices import list_price
from tests.faults.conftest import Start
from tests.faults.running import PRICE, Books, Replica, question, stated, until
from tests.faults.upstream import Behavior, Upstream

MISTRAL: Mapping[str, str] = {"X-Backend": "mistral"}
GPT_4: Mapping[str, str] = {"X-Backend": "gpt-4"}
ON_ITS_WAY = 5
"""Tokens that upstream may have sent, and the gateway not yet read, when the client disconnects."""
SLOW = Behavior(pause_s=0.02)


async def leave_in_mid_stream(client: httpx.AsyncClient, body: object, headers: Mapping[str, str] = MISTRAL) -> None:
    async with client.stream("POST", "/v1/recommendations", json=body, headers=headers) as response:
        events = 0
        async for line in response.aiter_lines():
            events += line.startswith("event: analysis")
            if events == 5:
                break


async def booked_since(books: Books, backend: str, before: Counter[str]) -> Counter[str]:
    """Wait until no call is running, and return the ledger's increase."""

    async def closed() -> bool:
        return not await books.leases()

    await until(closed)
    return await books.ledger(backend) - before


# 3. Usage of streams, complete and aborted


async def test_an_aborted_stream_is_billed_to_the_token_where_the_server_reports_usage(
    replica: Replica, upstream: Upstream, shared_books: Books
) -> None:
    mark, before = upstream.mark(SLOW), await shared_books.ledger("mistral")
    async with replica.client() as client:
        await leave_in_mid_stream(client, question(mark, "full", stream=True))
    booked, served = await booked_since(shared_books, "mistral", before), upstream.tallies["mistral", mark]
    assert (served.abandoned, booked["requests"], booked["estimated_requests"]) == (1, 1, 0)
    assert booked["input_tokens"] + booked["cached_input_tokens"] == served.prompt_tokens
    assert 0 <= served.completion_tokens - booked["output_tokens"] <= ON_ITS_WAY
    tokens = sum(booked[name] for name in ("input_tokens", "cached_input_tokens", "output_tokens"))
    assert booked["nano_usd"] == PRICE.cost(Usage(tokens, 0)).nano_usd


async def test_an_aborted_stream_is_billed_as_estimated_where_the_server_reports_none(
    replica: Replica, upstream: Upstream, shared_books: Books
) -> None:
    mark, before = upstream.mark(SLOW), await shared_books.ledger("gpt-4")
    async with replica.client() as client:
        await leave_in_mid_stream(client, question(mark, "full", stream=True), GPT_4)
    booked, served = await booked_since(shared_books, "gpt-4", before), upstream.tallies["gpt-4", mark]
    assert (served.abandoned, booked["requests"], booked["estimated_requests"]) == (1, 1, 1)
    assert booked["nano_usd"] > 0
    assert 0 <= served.completion_tokens - booked["output_tokens"] <= ON_ITS_WAY


# 4. Cached tokens


async def test_cached_tokens_are_priced_as_cached(replica: Replica, upstream: Upstream, shared_books: Books) -> None:
    """In the answer, the ledger and the metrics, to the nano-dollar."""
    before = await shared_books.ledger("gpt-4")
    async with replica.client() as client:
        answer = await client.post("/v1/recommendations", json=question(upstream.mark()), headers=GPT_4)
        usage: dict[str, Any] = answer.json()["usage"]
    price, cached = list_price("gpt-4.1"), usage["cached_tokens"]
    fresh = usage["prompt_tokens"] - cached
    assert 0 < cached < usage["prompt_tokens"]
    by_hand = fresh * price.input + cached * price.cached_input + usage["completion_tokens"] * price.output
    assert price.cached_input < price.input
    assert stated(answer) == by_hand * 1000
    booked = await booked_since(shared_books, "gpt-4", before)
    assert (booked["input_tokens"], booked["cached_input_tokens"]) == (fresh, cached)
    assert booked["nano_usd"] == stated(answer)


# 5. Races for limits, and reservations that leak; those for budgets are in test_ten_thousand.py


async def test_a_request_limit_is_exact_across_replicas(start: Start, upstream: Upstream) -> None:
    """Of many callers at a time, as many are let through as the limit says, and what drains meanwhile.

    A client retries after load shedding: the refusal must not count against the limit.
    """
    limit, callers, questions = 30, 25, 8
    replicas = start.two(CONVICTION_KEY_REQUESTS_PER_MINUTE=str(limit))
    through: Counter[int] = Counter()

    async def caller(client: httpx.AsyncClient) -> None:
        asked = 0
        while asked < questions:
            answer = await client.post("/v1/recommendations", json=question("SAME"))
            if answer.status_code == 503 and answer.json()["code"] == "overloaded":
                await asyncio.sleep(float(answer.headers["Retry-After"]))
                continue
            through[answer.status_code] += 1
            asked += 1

    async with replicas[0].client() as one, replicas[1].client() as other:
        began = time.monotonic()
        await asyncio.gather(*(caller(client) for client in (one, other) for _ in range(callers)))
        took = time.monotonic() - began
    assert set(through) == {200, 429}
    assert limit <= through[200] <= limit + 1 + took * limit / 60


async def test_no_place_and_no_reservation_is_leaked(start: Start, upstream: Upstream, books: Books) -> None:
    """Clients disconnect and calls fail; afterwards no slot is taken and nothing is reserved."""
    places = 3
    replica = start(
        CONVICTION_KEY_USD_PER_DAY="1",
        CONVICTION_MISTRAL_MAX_CONCURRENCY=str(places),
        CONVICTION_MISTRAL_QUEUE_SIZE="100",
    )
    async with replica.client() as client:
        for mode in (None, "cut", "500", "garbled", "timeout", None):
            await asyncio.gather(
                *(
                    client.post(
                        "/v1/recommendations",
                        json=question(upstream.mark(Behavior(mode, pause_s=0.001)), "full"),
                        headers={"X-Timeout-Ms": "1500"},
                    )
                    for _ in range(4)
                ),
                *(leave_in_mid_stream(client, question(upstream.mark(SLOW), "full", stream=True)) for _ in range(2)),
                return_exceptions=True,
            )
        await booked_since(books, "mistral", Counter())
        budget, ledger = await books.budget("key:local"), await books.ledger()
        assert budget["reserved"] == 0
        assert budget["used"] == ledger["nano_usd"] + ledger["unconfirmed_nano_usd"]
        await asyncio.sleep(2.5)  # for the breaker's pause to be over
        while (answer := await client.post("/v1/recommendations", json=question(upstream.mark()))).status_code == 503:
            assert answer.json()["code"] == "store_unavailable", answer.text  # a machine too busy for half a second
            await asyncio.sleep(0.5)
        stated(answer)
        together = [upstream.mark(SLOW) for _ in range(places)]
        pending = asyncio.gather(
            *(client.post("/v1/recommendations", json=question(mark, "full")) for mark in together)
        )
        await until(lambda: upstream.served("mistral", *together).open == places)
        assert [answer.status_code for answer in await pending] == [200] * places


# 12. Cache keys
