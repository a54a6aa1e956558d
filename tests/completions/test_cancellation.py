"""Requests that are cancelled at each of their awaits: no slot, waiter or reservation is left, and money is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.accounting import settlement
from app.auth.principal import local_principal
from app.backends.concurrency_limit import ConcurrencyLimit
from app.backends.upstream import Upstream
from app.completions.chat import chat
from app.completions.request import CompletionRequest, RequestOptions
from app.completions.single_flight import InFlightCall, SingleFlight
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.deadline import Deadline
from app.pricing.limits import Limits
from app.pricing.prices import NANO
from tests.cancelling import Work, cancel_everywhere
from tests.doubles import Gateway, gateway, ledger

Run = Callable[[Work], Awaitable[None]]
SLOTS = 2


async def test_the_concurrency_limit_loses_no_slot() -> None:
    async def scenario(run: Run) -> None:
        limit = ConcurrencyLimit(concurrency=1, queue_size=2)
        assert limit.reserve()

        async def call() -> None:
            async with limit.acquire():
                await asyncio.sleep(0)

        cancelled, other = asyncio.ensure_future(run(call())), asyncio.create_task(call())
        await asyncio.sleep(0)
        limit.release()
        await asyncio.gather(cancelled, other)
        assert (limit.waiting, limit.reserve()) == (0, True)

    assert await cancel_everywhere(scenario) > 1


@pytest.mark.parametrize("others", [0, 2])
async def test_a_shared_call_ends_with_its_last_waiter_and_reaches_the_others(others: int) -> None:
    async def scenario(run: Run) -> None:
        single_flight: SingleFlight[int] = SingleFlight()

        async def work(call: InFlightCall[int]) -> int:
            for text in "ab":
                await asyncio.sleep(0)
                call.write(text)
            return 7

        async def elsewhere() -> None:
            await asyncio.sleep(0)

        async def wait(call: InFlightCall[int]) -> tuple[str, int]:
            async with call.join():
                return "".join([text async for text in call.texts()]), await call.result()

        call = InFlightCall(work, elsewhere)
        single_flight.add("key", call)
        waiting = [asyncio.create_task(wait(call)) for _ in range(others)]
        await run(wait(call))
        async with asyncio.timeout(5):
            assert await asyncio.gather(*waiting) == [("ab", 7)] * others
            await single_flight.wait_idle()
        assert (call.waiters, single_flight.get("key")) == (0, None)

    assert await cancel_everywhere(scenario) > 2


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(settlement, "RETRY_S", 0.01)
    return {"mistral_max_concurrency": SLOTS, "mistral_usd_per_day": "1000", "cache_s": 0}


async def test_a_cancelled_recommendation_leaves_nothing(own_store: str, settings: dict[str, object]) -> None:
    async with gateway(own_store, **settings) as running:
        upstream = running.resources.upstreams["mistral"]

        async def request(ticker: str) -> None:
            options = RequestOptions(local_principal(Limits()), Deadline.after(20))
            asked = CompletionRequest(upstream, messages(EXAMPLE, ticker, "brief"), "brief", options)
            async with running.resources.completions.complete(asked) as pending:
                await pending.result()

        async def scenario(run: Run) -> None:
            await asyncio.gather(run(request("A")), request("A"), request("B"))
            await assert_idle(running, upstream)

        assert await cancel_everywhere(scenario) > 2


async def test_a_cancelled_chat_leaves_nothing(own_store: str, settings: dict[str, object]) -> None:
    async with gateway(own_store, **settings) as running:
        upstream = running.resources.upstreams["mistral"]
        body = {"model": "mistral", "messages": [{"role": "user", "content": "Hello."}], "stream": True}

        async def request() -> None:
            options = RequestOptions(local_principal(Limits()), Deadline.after(20))
            async with chat(body, upstream, options, running.resources.reservations) as pending:
                async for _ in pending.stream:
                    await asyncio.sleep(0)

        async def scenario(run: Run) -> None:
            await asyncio.gather(run(request()), request(), request())
            await assert_idle(running, upstream)

        assert await cancel_everywhere(scenario) > 5


async def assert_idle(running: Gateway, upstream: Upstream) -> None:
    """All calls end and are settled, every slot is free, and the budget is what the ledger holds."""
    resources = running.resources
    async with asyncio.timeout(20):
        await resources.completions.close()
        while resources.reservations._open or resources.reservations._settlements._pending:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        while await resources.redis.zcard("conviction:leases"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (upstream.concurrency.waiting, upstream.concurrency._slots.value) == (0, SLOTS)
    [key] = await resources.redis.keys("conviction:budget:backend:mistral:*")
    used, reserved = await resources.redis.hmget(key, "used", "reserved")
    sums = await ledger(running, "mistral")
    assert (int(used or 0), int(reserved or 0)) == (sums.get("nano_usd", 0), 0)
    assert sums.get("unconfirmed_requests", 0) == 0
    assert int(used or 0) < 1000 * NANO
