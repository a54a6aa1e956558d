"""Chat completions: the estimate is reserved, and the usage is booked however the call ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from app.auth.principal import local_principal
from app.backends.upstream import TEMPLATE_TOKENS
from app.completions.chat import ANSWER_TOKENS, chat
from app.completions.request import RequestOptions
from app.contract.completion import BackendName, Usage
from app.deadline import Deadline
from app.errors import BackendError, BudgetExceeded, DeadlineExceeded, StoreUnavailable
from app.pricing.limits import Limits
from app.pricing.prices import NANO
from tests.doubles import PARTIAL_USAGE, PRICES, USAGE, Gateway, completion, gateway, ledger
from tests.waiting import until

BODY: Mapping[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Good morning."}]}
STREAMED = {**BODY, "stream": True}
SAID = completion("Good morning to you.")
COST = PRICES["gpt-4"].cost(USAGE)


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store) as running:
        yield running


def options(seconds: float = 20, **limits: int) -> RequestOptions:
    return RequestOptions(local_principal(Limits(**limits)), Deadline.after(seconds))


async def passed(
    running: Gateway, body: Mapping[str, Any], requested: RequestOptions | None = None, name: BackendName = "gpt-4"
) -> bytes:
    upstream = running.resources.upstreams[name]
    async with chat(body, upstream, requested or options(), running.resources.reservations) as pending_chat:
        return b"".join([piece async for piece in pending_chat.stream])


async def reserved(running: Gateway) -> int:
    redis = running.resources.redis
    keys = await redis.keys("conviction:budget:backend:gpt-4:*")
    return sum([int(await redis.hget(key, "reserved") or 0) for key in keys])


@pytest.mark.parametrize("body", [BODY, STREAMED], ids=["whole", "streamed"])
async def test_reported_usage_is_booked_and_counted(running: Gateway, body: Mapping[str, Any]) -> None:
    running.backends["gpt-4"].script = [SAID]
    async with chat(
        body, running.resources.upstreams["gpt-4"], options(), running.resources.reservations
    ) as pending_chat:
        assert running.sample("conviction_in_flight_requests", backend="gpt-4") == 1
        assert await reserved(running) > COST.nano_usd
        async for _ in pending_chat.stream:
            pass
    assert (pending_chat.usage, pending_chat.cost) == (USAGE, COST)
    sums = await ledger(running, "gpt-4")
    assert (sums["requests"], sums["nano_usd"], await reserved(running)) == (1, COST.nano_usd, 0)
    assert running.sample("conviction_tokens_total", backend="gpt-4", type="output") == 11
    assert running.sample("conviction_request_duration_seconds_count", backend="gpt-4", detail="chat") == 1
    firsts = running.sample("conviction_time_to_first_token_seconds_count", backend="gpt-4", detail="chat")
    assert firsts == (1 if "stream" in body else 0)
    assert running.sample("conviction_in_flight_requests", backend="gpt-4") == 0


async def test_a_failure_before_the_response_is_booked_with_its_usage(running: Gateway) -> None:
    failed = BackendError("failed")
    failed.usage = Usage(400, 5, estimated=True)  # type: ignore[attr-defined]
    running.backends["gpt-4"].script = [failed]
    with pytest.raises(BackendError):
        await passed(running, BODY)
    sums = await ledger(running, "gpt-4")
    assert (sums["requests"], sums["output_tokens"], sums["estimated_requests"]) == (1, 5, 1)
    assert await reserved(running) == 0


async def test_a_call_that_used_nothing_is_in_no_ledger(running: Gateway) -> None:
    running.backends["gpt-4"].script = [BackendError("failed")]
    with pytest.raises(BackendError):
        await passed(running, BODY)
    assert await ledger(running, "gpt-4") == {}
    assert await reserved(running) == 0
    assert running.sample("conviction_request_duration_seconds_count", backend="gpt-4") == 0


async def test_the_deadline_cancels_the_call_and_its_usage_is_booked(running: Gateway) -> None:
    running.backends["gpt-4"].go = asyncio.Event()
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0.2 s"):
        await passed(running, STREAMED, options(0.2))
    assert (await ledger(running, "gpt-4"))["nano_usd"] == PRICES["gpt-4"].cost(PARTIAL_USAGE).nano_usd


# Limits


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
@pytest.mark.parametrize("limits", [{"tokens_per_minute": 10**6}, {"nano_usd_per_day": 10**9}])
async def test_a_limit_of_tokens_or_money_bounds_the_completion(
    running: Gateway, limits: dict[str, int], name: BackendName
) -> None:
    await passed(running, BODY, options(**limits), name)
    assert running.backends[name].chats == [{**BODY, "max_completion_tokens": ANSWER_TOKENS[name]}]


@pytest.mark.parametrize("own", [{"max_tokens": 7}, {"max_completion_tokens": 7}, {"max_tokens": 7, "n": 2}])
async def test_a_client_s_limit_is_unchanged(running: Gateway, own: dict[str, int]) -> None:
    body = {**BODY, **own}
    await passed(running, body, options(nano_usd_per_day=10**9))
    assert running.backends["gpt-4"].chats == [body]


async def test_the_estimate_is_reserved(own_store: str) -> None:
    """A budget of exactly the estimate admits the request; one of a nano-dollar less refuses it."""
    body = {**BODY, "max_tokens": 50, "n": 3}
    async with gateway(own_store) as running:
        running.backends["gpt-4"].go = asyncio.Event()
        pending = asyncio.create_task(passed(running, body, options(nano_usd_per_day=NANO)))
        await until(lambda: running.backends["gpt-4"].chat_streams)
        most = await reserved(running)
        running.backends["gpt-4"].go.set()
        await pending
    prompt = len(str(body["messages"][0]["content"]))
    assert most >= PRICES["gpt-4"].cost(Usage(prompt + TEMPLATE_TOKENS, 150)).nano_usd
    spent = COST.nano_usd
    async with gateway(own_store) as running:
        with pytest.raises(BudgetExceeded):
            await passed(running, body, options(nano_usd_per_day=spent + most - 1))
        await passed(running, body, options(nano_usd_per_day=spent + most))


async def test_an_unavailable_store_refuses_only_with_limits() -> None:
    async with gateway("redis://127.0.0.1:1") as running:
        assert await passed(running, BODY)
        with pytest.raises(StoreUnavailable):
            await passed(running, BODY, options(requests_per_minute=5))
        assert len(running.backends["gpt-4"].chats) == 1
