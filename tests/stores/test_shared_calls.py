"""Following calls: no result is lost, dead leaders are replaced, and followers that leave are removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.accounting.admission import Admissions, CacheHit, Follower, Leader
from app.contract.completion import Usage
from app.errors import StoreUnavailable
from app.pricing.limits import Estimate, Limits, Scope
from app.stores import shared_calls as shared_calls
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from app.stores.shared_calls import NO_RESULT, CallResult, SharedCalls
from tests.stores.conftest import TIMEOUT_S, Clock

SCOPES = (Scope("backend:gpt-4", Limits()),)
ESTIMATE = Estimate(1000, 5000)
USAGE = Usage(400, 11)
VALUE = bytes(range(256))
BUSY = CallResult(error="backend_unavailable", retry_after=2.5)


@pytest.fixture
async def elsewhere(redis: Redis) -> AsyncIterator[tuple[Admissions, SharedCalls]]:
    """Another gateway."""
    store = Pipelined(redis, TIMEOUT_S)
    follower = SharedCalls(redis, store, TIMEOUT_S)
    yield Admissions(store), follower
    await follower.close()
    await store.close()


async def reached(true: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Clock:
    """A clock that tests set, and followers that read it often."""
    monkeypatch.setattr(shared_calls, "RECHECK_S", 0.05)
    return clock


async def lead(admissions: Admissions, name: str) -> None:
    admission = await admissions.admit(name, SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f", sent=True)
    assert isinstance(admission, Leader)


async def follow(admissions: Admissions, follower: SharedCalls, name: str) -> asyncio.Task[CallResult]:
    """Join the call and wait."""
    admission = await admissions.admit(name, SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f")
    assert isinstance(admission, Follower)
    return asyncio.create_task(follower.follow(admission.leader, name))


@pytest.mark.parametrize(
    "result", [CallResult(VALUE, 30), CallResult(VALUE), CallResult(error="unparsed_answer"), BUSY, NO_RESULT]
)
async def test_all_followers_get_the_result(
    admissions: Admissions, follower: SharedCalls, elsewhere: tuple[Admissions, SharedCalls], result: CallResult
) -> None:
    await lead(admissions, "leader")
    here = [await follow(admissions, follower, f"here-{n}") for n in range(20)]
    there = [await follow(*elsewhere, f"there-{n}") for n in range(20)]
    assert await follower.followers("leader") == 40
    await admissions.settle("leader", USAGE, 7, result)
    received = replace(result, ttl_s=0.0)
    assert await asyncio.wait_for(asyncio.gather(*here, *there), 60) == [received] * 40
    assert await follower.followers("leader") == 0


async def test_a_result_published_before_the_wait_is_found(admissions: Admissions, follower: SharedCalls) -> None:
    await lead(admissions, "leader")
    joined = await admissions.admit("late", SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f")
    assert isinstance(joined, Follower)
    await admissions.settle("leader", USAGE, 7, CallResult(VALUE))
    assert await asyncio.wait_for(follower.follow(joined.leader, "late"), 60) == CallResult(VALUE)


async def test_a_lost_subscription_loses_no_result(admissions: Admissions, follower: SharedCalls, redis: Redis) -> None:
    for round_ in range(5):
        await lead(admissions, f"leader-{round_}")
        waiting = [await follow(admissions, follower, f"{round_}-{n}") for n in range(5)]
        await reached(lambda: _subscribed(redis))
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await admissions.settle(f"leader-{round_}", USAGE, 7, CallResult(VALUE))
        assert await asyncio.wait_for(asyncio.gather(*waiting), 60) == [CallResult(VALUE)] * 5


async def _subscribed(redis: Redis) -> bool:
    channels = await redis.pubsub_numsub("conviction:landed")
    return bool(channels[0][1])


async def test_one_follower_replaces_a_dead_leader(
    admissions: Admissions, follower: SharedCalls, elsewhere: tuple[Admissions, SharedCalls], redis: Redis, often: Clock
) -> None:
    """The call that it had sent is charged."""
    await lead(admissions, "leader")
    names = [f"follower-{n}" for n in range(10)]
    waiting = [await follow(*(elsewhere if n % 2 else (admissions, follower)), name) for n, name in enumerate(names)]
    await often.forward(30_000_000)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 60) == [NO_RESULT] * 10
    again = await asyncio.gather(
        *(admissions.admit(name, SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f", counted=True) for name in names)
    )
    assert sum(isinstance(admission, Leader) for admission in again) == 1
    assert sum(isinstance(admission, Follower) for admission in again) == 9
    (day,) = await redis.keys("conviction:ledger:gpt-4:*")
    assert await redis.hgetall(day) == {"unconfirmed_requests": "1", "unconfirmed_nano_usd": "5000"}


async def test_a_leader_that_renews_is_waited_for(admissions: Admissions, follower: SharedCalls, often: Clock) -> None:
    await lead(admissions, "leader")
    waiting = await follow(admissions, follower, "follower")
    for _ in range(5):
        await often.forward(29_000_000)
        assert await admissions.renew("leader", 30)
        await asyncio.sleep(0.1)
    assert not waiting.done()
    await admissions.settle("leader", USAGE, 7, CallResult(VALUE))
    assert await asyncio.wait_for(waiting, 60) == CallResult(VALUE)


async def test_a_late_result_of_an_expired_leader_affects_no_other_call(
    admissions: Admissions, follower: SharedCalls, clock: Clock
) -> None:
    await lead(admissions, "leader")
    await clock.forward(30_000_000)
    await lead(admissions, "other")
    waiting = await follow(admissions, follower, "follower")
    assert await admissions.settle("leader", USAGE, 7, CallResult(b"late", 30)) == "corrected"
    joined = await admissions.admit("next", SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f", read_cache=False)
    assert isinstance(joined, Follower)
    assert joined.leader == "other"
    hit = await admissions.admit("reader", SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f")
    assert isinstance(hit, CacheHit)
    await admissions.settle("other", USAGE, 7, CallResult(VALUE))
    assert await asyncio.wait_for(waiting, 60) == CallResult(VALUE)


async def test_a_failed_call_publishes_its_error(admissions: Admissions, follower: SharedCalls) -> None:
    await lead(admissions, "leader")
    waiting = await follow(admissions, follower, "follower")
    await admissions.release("leader", CallResult(error="backend_unavailable"))
    assert await asyncio.wait_for(waiting, 60) == CallResult(error="backend_unavailable")


async def test_a_follower_that_leaves_is_removed(admissions: Admissions, follower: SharedCalls) -> None:
    await lead(admissions, "leader")
    waiting = [await follow(admissions, follower, f"follower-{n}") for n in range(3)]
    await reached(lambda: _waiting(follower, 3))
    unfollowed = asyncio.create_task(follower.wait_unfollowed("leader"))
    waiting[0].cancel()
    await reached(lambda: _waiting(follower, 2))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await follower.follow("leader", "impatient")
    await reached(lambda: _waiting(follower, 2))
    assert not unfollowed.done()
    for task in waiting:
        task.cancel()
    await asyncio.wait_for(unfollowed, 60)


async def _waiting(follower: SharedCalls, number: int) -> bool:
    return await follower.followers("leader") == number


async def test_a_dead_follower_expires(admissions: Admissions, follower: SharedCalls, redis: Redis) -> None:
    await lead(admissions, "leader")
    joined = await admissions.admit("dead", SCOPES, "gpt-4", ESTIMATE, lease_s=30, call_key="f")
    assert isinstance(joined, Follower)
    ((_, ends),) = await redis.zrange("conviction:followers:leader", 0, -1, withscores=True)
    seconds, microseconds = await redis.time()
    assert 5 < ends / 1e6 - seconds - microseconds / 1e6 <= 15
    await redis.zadd("conviction:followers:leader", {"dead": seconds * 1e6})
    assert await follower.followers("leader") == 0


async def test_following_raises_if_the_store_is_unavailable() -> None:
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        follower = SharedCalls(redis, Pipelined(redis))
        with pytest.raises(StoreUnavailable):
            await follower.follow("leader", "follower")
        await follower.close()
