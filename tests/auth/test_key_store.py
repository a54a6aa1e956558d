"""Issued keys in Redis: a record each, without the secret, never deleted."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.auth import key_store as keys
from app.auth.api_key import KeyGrant
from app.auth.key_store import RECORDS, KeyStore
from app.errors import StoreUnavailable
from app.stores.connection import open_redis

ANN = KeyGrant(name="ann", backends=frozenset({"mistral"}), requests_per_minute=60, nano_usd_per_day=5)


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Redis]:
    async with open_redis(SecretStr(store_url)) as redis:
        await redis.delete(RECORDS)
        yield redis


@pytest.fixture
def store(redis: Redis) -> KeyStore:
    return KeyStore(redis)


async def test_a_key_is_stored_as_issued(store: KeyStore) -> None:
    text, record = await store.issue(ANN, "file:root")
    assert await store.get(text.id) == record
    assert (record.id, record.grant, record.created_by, record.revoked) == (text.id, ANN, "file:root", None)
    assert abs(datetime.now(UTC) - record.created) < timedelta(minutes=1)
    assert record.digest == text.digest()


async def test_the_store_holds_the_hash_and_not_the_secret(store: KeyStore, redis: Redis) -> None:
    text, _ = await store.issue(ANN, "file:root")
    held = json.dumps(await redis.hgetall(RECORDS))
    assert text.digest() in held
    assert text.secret not in held


async def test_an_id_that_is_taken_is_not_issued_again(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, record = await store.issue(ANN, "file:root")
    other = keys.KeyText.new()
    made = iter([keys.KeyText(first.id, other.secret), other])
    monkeypatch.setattr(keys.KeyText, "new", lambda: next(made))
    second, _ = await store.issue(KeyGrant(name="bob"), "file:root")
    assert second == other
    assert await store.get(first.id) == record


async def test_a_revoked_key_stays_in_the_list_with_the_time_it_was_first_revoked(store: KeyStore) -> None:
    text, record = await store.issue(ANN, "file:root")
    assert await store.revoke(text.id)
    ended = await store.get(text.id)
    assert ended is not None
    assert ended.revoked is not None
    assert ended == record.model_copy(update={"revoked": ended.revoked})
    assert await store.revoke(text.id)
    assert await store.page() == ([ended], None)


async def test_all_are_listed_page_by_page(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "PAGE_SIZE", 10)
    issued = await asyncio.gather(*(store.issue(KeyGrant(name=f"n{number}"), "local") for number in range(25)))
    ids, after, pages = [], "", 0
    while True:
        page, shared_calls = await store.page(after)
        ids += [record.id for record in page]
        pages += 1
        if shared_calls is None:
            break
        after = shared_calls
    assert ids == sorted(text.id for text, _ in issued)
    assert pages == 3


@pytest.mark.parametrize("text", ["", "no JSON", "{}", '{"id": 1}'])
async def test_an_invalid_record_authenticates_nothing_and_is_logged(
    store: KeyStore, redis: Redis, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.hset(RECORDS, "0" * 12, text)
    _, record = await store.issue(ANN, "local")
    assert await store.get("0" * 12) is None
    assert await store.page() == ([record], None)
    assert "the record of key 000000000000 in conviction:keys is invalid" in caplog.text


async def test_the_log_of_an_invalid_record_has_no_hash(
    store: KeyStore, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    text, record = await store.issue(ANN, "local")
    await redis.hset(RECORDS, text.id, record.model_dump_json()[:-1] + ', "newer": 1}')
    assert await store.get(text.id) is None
    assert text.id in caplog.text
    assert text.digest() not in caplog.text


async def test_an_unreachable_or_hanging_store_is_store_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            async with open_redis(SecretStr(f"redis://127.0.0.1:{port}")) as redis:
                store = KeyStore(redis)
                for call in (store.issue(ANN, "local"), store.get("0" * 12), store.page(), store.revoke("0" * 12)):
                    with pytest.raises(StoreUnavailable):
                        await call


async def test_a_record_holds_only_the_permissions_that_differ(store: KeyStore, redis: Redis) -> None:
    """A replica that does not know a permission accepts the keys that do not restrict it, and no others."""
    for chat, stored in ((True, False), (False, True)):
        text, record = await store.issue(KeyGrant(name="ann", chat=chat), "local")
        assert ('"chat"' in str(await redis.hget(RECORDS, text.id))) == stored
        assert await store.get(text.id) == record
