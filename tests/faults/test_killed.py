"""Processes that are killed during requests: a gateway, the store, a model server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from app.stand_in.server import default_models
from tests.faults.conftest import Served, Start
from tests.faults.running import PRICE, ROOT, SOON_S, Books, most, question, stated, until
from tests.faults.upstream import Behavior, Upstream
from tests.test_main import clean_environment, free_port
from tests.valkey import Valkey

PATH = "/v1/recommendations"
SLOW = Behavior(pause_s=0.02)


async def test_a_gateway_is_killed_in_mid_request(start: Start, upstream: Upstream, books: Books) -> None:
    """Its sent call is charged as unconfirmed, its queued call is not, and the follower is answered."""
    first, second = start.two(CONVICTION_MISTRAL_MAX_CONCURRENCY="1", CONVICTION_KEY_USD_PER_DAY="10")
    sent, queued = upstream.mark(SLOW), upstream.mark()
    async with first.client() as client, second.client() as other:
        killed_calls = [asyncio.create_task(client.post(PATH, json=question(sent, "full")))]
        await until(lambda: upstream.tallies["mistral", sent].open == 1)
        killed_calls.append(asyncio.create_task(client.post(PATH, json=question(queued))))
        await until(lambda: _holds(books, 2))
        follower = asyncio.create_task(other.post(PATH, json=question(sent, "full")))
        await until(lambda: _followed(books))
        first.kill()
        ended = await asyncio.gather(*killed_calls, return_exceptions=True)
        assert all(isinstance(each, httpx.TransportError) for each in ended)
        answer = await follower
    assert answer.json()["source"] == "model"
    await books.closed()
    ledger, budget = await books.ledger("mistral"), await books.budget("key:local")
    assert (ledger["requests"], ledger["unconfirmed_requests"]) == (1, 1)
    assert ledger["nano_usd"] == stated(answer)
    assert ledger["unconfirmed_nano_usd"] == most(sent, "full")
    assert (budget["reserved"], budget["used"]) == (0, stated(answer) + most(sent, "full"))
    assert upstream.calls[queued] == 0


async def _holds(books: Books, reservations: int) -> bool:
    return await books.leases() == reservations


async def _followed(books: Books) -> bool:
    return bool(await books.redis.keys("conviction:followers:*"))


async def test_the_store_is_killed_in_mid_request(
    start: Start, upstream: Upstream, valkey: Valkey, books: Books
) -> None:
    """Running calls are answered, and settled once the store answers; meanwhile budgets refuse."""
    replica = start(CONVICTION_KEY_USD_PER_DAY="10")
    streamed, complete = upstream.mark(SLOW), upstream.mark(SLOW)
    async with replica.client() as client:
        before = stated(await client.post(PATH, json=question(upstream.mark())))
        pending = [
            asyncio.create_task(client.post(PATH, json=question(mark, "full", stream=mark == streamed)))
            for mark in (streamed, complete)
        ]
        await until(lambda: upstream.served("mistral", streamed, complete).open == 2)
        valkey.kill()
        refused = await client.post(PATH, json=question(upstream.mark()))
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        stream, answer = await asyncio.gather(*pending)
        valkey.start()
    final = json.loads(stream.text.rstrip().rpartition("data: ")[2])
    await books.closed()
    ledger, budget = await books.ledger("mistral"), await books.budget("key:local")
    assert (ledger["requests"], ledger["unconfirmed_requests"]) == (3, 0)
    assert final["cost"]["usd"] == answer.json()["cost"]["usd"]
    assert ledger["nano_usd"] == before + 2 * stated(answer)
    assert (budget["used"], budget["reserved"]) == (ledger["nano_usd"], 0)


@contextmanager
def model_server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A stand-in as a separate process."""
    port = free_port()
    options = ["--port", str(port), "--model", default_models()[1], "--latency-ms-per-token", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "stand-in", *options],
        env=clean_environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(SOON_S)


async def test_a_model_s_server_is_killed_in_mid_request(
    start: Start, upstream: Upstream, upstream_served: Served, books: Books
) -> None:
    """The request fails and is billed for what was received; the next is answered by another server."""
    with model_server() as (process, origin):
        async with httpx.AsyncClient() as probe:
            await until(lambda: _answers(probe, f"{origin}/health"))
        replica = start(CONVICTION_VLLM_URLS=f"{origin}/v1,{upstream_served.origin}/v1")
        async with replica.client() as client:
            pending = client.stream("POST", PATH, json=question(upstream.mark(), "full", stream=True))
            async with pending as response:
                lines = response.aiter_lines()
                for _ in range(12):
                    await anext(lines)
                process.kill()
                *_, last = [line.removeprefix("data: ") async for line in lines if line.startswith("data: ")]
            assert json.loads(last)["code"] == "backend_error"
            mark = upstream.mark()
            answer = await client.post(PATH, json=question(mark))
            assert upstream.calls[mark] == 1
    await books.closed()
    ledger = await books.ledger("mistral")
    assert (ledger["requests"], ledger["estimated_requests"], ledger["unconfirmed_requests"]) == (2, 0, 0)
    tokens = sum(ledger[name] for name in ("input_tokens", "cached_input_tokens", "output_tokens"))
    per_token = round(PRICE.usd_per_hour * 10**9 / PRICE.tokens_per_hour)
    assert ledger["nano_usd"] == tokens * per_token
    assert ledger["nano_usd"] > stated(answer)
    assert ledger["output_tokens"] - answer.json()["usage"]["completion_tokens"] >= 4, "the events that were read"


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("timeout_s", [0.2, 10.0], ids=["the client leaves", "the gateway times out"])
async def test_what_a_store_that_hung_admits_too_late_is_given_back(
    timeout_s: float, start: Start, upstream: Upstream, valkey: Valkey, books: Books
) -> None:
    """The request had ended before its admission and nothing was sent: nothing is charged."""
    replica = start(CONVICTION_KEY_USD_PER_DAY="10")
    mark = upstream.mark()
    async with replica.client() as client:
        spent = stated(await client.post(PATH, json=question(upstream.mark())))
        valkey.hang()
        try:
            answer = await client.post(PATH, json=question(mark), timeout=timeout_s)
            assert answer.status_code == 503
        except httpx.ReadTimeout:
            assert timeout_s < 1
        valkey.go_on()
        await asyncio.sleep(2)
    await books.closed()
    assert await books.budget("key:local") == {"used": spent, "reserved": 0}
    assert (upstream.calls[mark], (await books.ledger())["unconfirmed_requests"]) == (0, 0)
