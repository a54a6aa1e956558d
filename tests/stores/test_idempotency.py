"""Idempotency: a repeat gets the first response, another body is refused, and a dead request releases its key."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.errors import IdempotencyConflict, StoreUnavailable
from app.stores.connection import open_redis
from app.stores.idempotency import MAX_BODY_BYTES, Done, Fresh, Idempotency, InProgress
from app.stores.pipelined import Pipelined

HEADERS = {"content-type": "application/json", "x-request-id": "req_é"}
BODY = bytes(range(256))


@pytest.fixture
def idempotency(store: Pipelined, redis: Redis) -> Idempotency:
    return Idempotency(store)


async def begin(idempotency: Idempotency, body: bytes = b"{}", key: str = "k", lease_s: float = 30) -> Fresh:
    fresh = await idempotency.begin("holder", key, body, lease_s)
    assert isinstance(fresh, Fresh)
    return fresh


async def test_a_repeated_request_gets_the_first_response(idempotency: Idempotency, redis: Redis) -> None:
    fresh = await begin(idempotency)
    assert await idempotency.finish(fresh, 200, HEADERS, BODY)
    for _ in range(2):
        assert await idempotency.begin("holder", "k", b"{}", 30) == Done(200, HEADERS, BODY)
    (record,) = await redis.keys("conviction:idempotency:*")
    assert 86_000 < await redis.ttl(record) <= 86_400


async def test_a_response_in_another_form_is_a_conflict(idempotency: Idempotency, redis: Redis) -> None:
    await idempotency.finish(await begin(idempotency), 200, HEADERS, BODY)
    (record,) = await redis.keys("conviction:idempotency:*")
    await redis.hset(record, "version", "2")
    with pytest.raises(IdempotencyConflict, match="another version"):
        await idempotency.begin("holder", "k", b"{}", 30)


async def test_one_of_many_concurrent_requests_is_the_first(idempotency: Idempotency) -> None:
    found = await asyncio.gather(*(idempotency.begin("holder", "k", b"{}", 30) for _ in range(100)))
    assert sum(isinstance(first, Fresh) for first in found) == 1
    assert all(0 < other.lease_left_s <= 30 for other in found if isinstance(other, InProgress))


async def test_another_body_is_refused_before_and_after_the_response(idempotency: Idempotency) -> None:
    fresh = await begin(idempotency)
    with pytest.raises(IdempotencyConflict):
        await idempotency.begin("holder", "k", b"{ }", 30)
    await idempotency.finish(fresh, 200, HEADERS, BODY)
    with pytest.raises(IdempotencyConflict) as caught:
        await idempotency.begin("holder", "k", b"{ }", 30)
    assert caught.value.status == 409


async def test_keys_are_separate_by_principal(idempotency: Idempotency) -> None:
    await begin(idempotency, key="b")
    for principal, key in (("other", "b"), ("holder\nb", ""), ("", "holder\nb")):
        assert isinstance(await idempotency.begin(principal, key, b"{}", 30), Fresh)


async def test_an_abandoned_request_can_be_repeated(idempotency: Idempotency) -> None:
    await idempotency.abandon(await begin(idempotency))
    await begin(idempotency, b"another")


async def test_the_key_of_a_dead_request_is_released(idempotency: Idempotency) -> None:
    dead = await begin(idempotency, lease_s=0.05)
    await asyncio.sleep(0.1)
    second = await begin(idempotency)
    assert not await idempotency.renew(dead, 30)
    assert not await idempotency.finish(dead, 200, {}, b"late")
    await idempotency.abandon(dead)
    assert isinstance(await idempotency.begin("holder", "k", b"{}", 30), InProgress)
    assert await idempotency.finish(second, 201, {}, b"answer")
    assert await idempotency.begin("holder", "k", b"{}", 30) == Done(201, {}, b"answer")
    await idempotency.abandon(second)
    assert await idempotency.begin("holder", "k", b"{}", 30) == Done(201, {}, b"answer")


async def test_a_late_response_without_a_repeat_is_stored(idempotency: Idempotency) -> None:
    late = await begin(idempotency, lease_s=0.05)
    await asyncio.sleep(0.1)
    assert await idempotency.finish(late, 200, {}, b"late")
    assert await idempotency.begin("holder", "k", b"{}", 30) == Done(200, {}, b"late")


async def test_a_long_request_renews_its_lease(idempotency: Idempotency) -> None:
    fresh = await begin(idempotency, lease_s=5)
    assert await idempotency.renew(fresh, 600)
    again = await idempotency.begin("holder", "k", b"{}", 30)
    assert isinstance(again, InProgress)
    assert 5 < again.lease_left_s <= 600


async def test_a_repeat_of_a_response_too_large_to_store_is_refused(idempotency: Idempotency, redis: Redis) -> None:
    await idempotency.finish(await begin(idempotency, key="most"), 200, {}, b"x" * MAX_BODY_BYTES)
    assert isinstance(await idempotency.begin("holder", "most", b"{}", 30), Done)
    await idempotency.finish(await begin(idempotency), 200, {}, b"x" * (MAX_BODY_BYTES + 1))
    with pytest.raises(IdempotencyConflict, match="too large"):
        await idempotency.begin("holder", "k", b"{}", 30)


async def test_the_key_is_not_stored_in_plain(idempotency: Idempotency, redis: Redis) -> None:
    await begin(idempotency, key="a-secret-of-the-client")
    assert not [name for name in await redis.keys() if "secret" in name]


async def test_a_store_that_is_away_is_said() -> None:
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        with pytest.raises(StoreUnavailable):
            await Idempotency(Pipelined(redis)).begin("holder", "k", b"{}", 30)
