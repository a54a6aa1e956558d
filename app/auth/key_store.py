"""The issued keys: a record an id in one Redis hash, none of them ever taken out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.auth.api_key import KeyRecord, KeyText, RequestOptions
from app.errors import StoreUnavailable

RECORDS = "conviction:keys"
PAGE = 1000

log = logging.getLogger(__name__)


class KeyStore:
    """Reads and writes records. Every method raises `StoreUnavailable` where Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, terms: RequestOptions, created_by: str) -> tuple[KeyText, KeyRecord]:
        """A new key. Its text is told here and never again."""
        while True:
            key = KeyText.new()
            record = KeyRecord(
                id=key.id, digest=key.digest(), terms=terms, created=datetime.now(UTC), created_by=created_by
            )
            async with _answering():
                if await self._redis.hsetnx(RECORDS, key.id, record.model_dump_json()):
                    return key, record

    async def get(self, key_id: str) -> KeyRecord | None:
        """The record of an id; None where it was never issued."""
        async with _answering():
            text = await self._redis.hget(RECORDS, key_id)
        return _read(key_id, text)

    async def page(self, after: str = "") -> tuple[list[KeyRecord], str | None]:
        """Up to `PAGE` records after an id, in the order of their ids; and where more are, the id they come after."""
        async with _answering():
            known = cast(list[str], await self._redis.hkeys(RECORDS))
            ids = sorted(key_id for key_id in known if key_id > after)
            texts = await self._redis.hmget(RECORDS, ids[:PAGE]) if ids else []
        read = (_read(key_id, text) for key_id, text in zip(ids, texts, strict=False))
        return [record for record in read if record is not None], ids[PAGE - 1] if len(ids) > PAGE else None

    async def revoke(self, key_id: str) -> bool:
        """End a key for good; whether there is such a key. Twice is as good as once."""
        record = await self.get(key_id)
        if record is not None and record.revoked is None:
            ended = record.model_copy(update={"revoked": datetime.now(UTC)})
            async with _answering():
                await self._redis.hset(RECORDS, key_id, ended.model_dump_json())
        return record is not None


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable("the store of keys does not answer") from error


def _read(key_id: str, text: str | bytes | None) -> KeyRecord | None:
    """The record, if there is one. What cannot be read opens nothing and is logged, without its text: it has a hash."""
    try:
        return None if text is None else KeyRecord.model_validate_json(text)
    except ValidationError:
        log.error("the record of key %s in %s cannot be read", key_id, RECORDS)
        return None
